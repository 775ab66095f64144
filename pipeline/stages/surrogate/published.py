"""The published code's numbers beside the corrected ones, defect by defect (arXiv 2305.14585, authors' code)."""

from __future__ import annotations

import numpy as np
from scipy.special import expit, softmax

from analysis.surrogates.faithfulness import confidences, explained_variance, log_odds
from analysis.surrogates.glm import KernelGLM
from analysis.surrogates.linear import LinearKernelClassifier
from analysis.surrogates.named_tau import (
    PublishedTau,
    tau,
    tau_published_bert,
    tau_published_glm,
    tau_published_poison,
    tau_published_svm,
)
from analysis.surrogates.published_defects import r2_over_test_points
from pipeline.config.run import RunConfig
from pipeline.engine.artifacts import finite_or_none
from pipeline.stages.kernel.read import KernelSide
from pipeline.stages.surrogate.machine import Surrogate
from pipeline.stages.surrogate.read import PublishedRow


def compare_with_published(
    config: RunConfig, train: KernelSide, test: KernelSide, model: Surrogate
) -> list[PublishedRow]:
    """Reproduce each defect that this kernel and task can show."""
    scores = model.log_scores(test.kernel)
    correct = confidences(log_odds(test.network), log_odds(scores), test.labels, "correct")
    ours = tau(test.network, scores, test.labels)
    rows = [
        _row(name, "tau", ours, found.tau, f"{found.dropped} of {found.dropped + found.n} values at 0 or 1 dropped")
        for name, found in published_taus(config.surrogate.kind, test.network, scores).items()
    ]
    rows.append(
        _row(
            "test_axis_r2",
            "r2",
            explained_variance(*correct),
            r2_over_test_points(test.network, scores),
            "softmax over test points, arguments exchanged",
        )
    )
    if config.surrogate.kind == "glm" and config.surrogate.link == "ovr":
        rows += _solver_rows(config, train, test, ours, scores)
    if config.kernel.kind == "conjugate" and isinstance(model, LinearKernelClassifier):
        rows.append(_squared_row(train, test, model, ours))
    return rows


def published_taus(kind: str, network: np.ndarray, scores: np.ndarray) -> dict[str, PublishedTau]:
    """Compute each named τ of the published code that is defined for this machine and number of classes.

    Parameters
    ----------
    kind : str
        ``surrogate.kind``; the source has GLMs and SVMs.
    network, scores : ndarray, shape (m, C)
        Unnormalized log-probabilities of network and machine.
    """
    if kind not in ("glm", "svm"):
        return {}
    if scores.shape[1] > 2:
        return {"tau_published_poison": tau_published_poison(network, softmax(scores, axis=1))}
    logit, decision = (log_odds(np.asarray(side, np.float64))[:, 1] for side in (network, scores))
    if kind == "svm":
        return {"tau_published_svm": tau_published_svm(logit, expit(decision))}
    return {
        "tau_published_glm": tau_published_glm(logit, decision),
        "tau_published_bert": tau_published_bert(network, decision),
    }


def _solver_rows(
    config: RunConfig, train: KernelSide, test: KernelSide, ours: float, scores: np.ndarray
) -> list[PublishedRow]:
    """Fit by the published solver, which stops early, and measure its machine by every τ; published τ are of it."""
    alpha = config.surrogate.alpha or 1e-4
    named = published_taus("glm", test.network, scores)
    rows = []
    for seed in range(config.surrogate.refits):
        refit = KernelGLM(alpha, solver="sgd", random_state=seed).fit(train.kernel, train.labels)
        found, note = refit.log_scores(test.kernel), f"SGD, refit {seed}"
        right = [float((s.argmax(1) == test.labels).mean()) for s in (scores, found)]
        rows.append(_row("unseeded_solver", "tau", ours, tau(test.network, found, test.labels), note))
        for name, measured in published_taus("glm", test.network, found).items():
            rows.append(_row("unseeded_solver", name, named[name].tau, measured.tau, note))
        rows.append(_row("unseeded_solver", "accuracy", right[0], right[1], note))
    return rows


def _squared_row(train: KernelSide, test: KernelSide, model: LinearKernelClassifier, ours: float) -> PublishedRow:
    """Square the kernel over its training points; the published code also sums over the test points."""
    squared, across = (np.asarray(side.kernel, np.float64) @ train.kernel.T for side in (train, test))
    scale = np.sqrt(np.diagonal(squared).mean())
    refit = type(model)(**model.get_params()).fit((squared + squared.T) / (2 * scale**2), train.labels)
    found = refit.log_scores(across / scale**2)
    return _row(
        "squared_conjugate",
        "tau",
        ours,
        tau(test.network, found, test.labels),
        "kernel times its transpose, training points",
    )


def _row(defect: str, quantity: str, corrected: float, published: float, note: str) -> PublishedRow:
    return {
        "defect": defect,
        "quantity": quantity,
        "corrected": finite_or_none(corrected),
        "published": finite_or_none(published),
        "note": note,
    }
