"""The published code's numbers beside the corrected ones, defect by defect (arXiv 2305.14585, authors' code)."""

from __future__ import annotations

import numpy as np
from scipy.special import expit, softmax

from analysis.surrogates.faithfulness import confidences, explained_variance, kendall_tau, log_odds
from analysis.surrogates.glm import KernelGLM
from analysis.surrogates.linear import LinearKernelClassifier
from analysis.surrogates.published_defects import one_hot_index_tau, positive_class_tau, r2_over_test_points
from pipeline.config.run import RunConfig
from pipeline.engine.artifacts import finite_or_none
from pipeline.stages.kernel.read import KernelSide
from pipeline.stages.surrogate.machine import Surrogate
from pipeline.stages.surrogate.read import PublishedRow

REFITS = 5
"""Seeds of the published stochastic solver; unseeded refits differ by as much as these do."""


def compare_with_published(
    config: RunConfig, train: KernelSide, test: KernelSide, model: Surrogate
) -> list[PublishedRow]:
    """Reproduce each defect that this kernel and task can show."""
    scores = model.log_scores(test.kernel)
    correct = confidences(log_odds(test.network), log_odds(scores), test.labels, "correct")
    tau = kendall_tau(*correct)
    n_classes = scores.shape[1]
    rows = []
    if n_classes == 2:
        network, surrogate = (expit(log_odds(s)[:, 1]).astype(np.float32) for s in (test.network, scores))
        found = positive_class_tau(network, surrogate)
        note = f"positive class of every point in float32; {found.dropped} of {len(network)} points at 0 or 1 dropped"
        rows.append(_row("positive_class_tau", "tau", tau, found.tau, note))
    else:
        hot = one_hot_index_tau(softmax(test.network, axis=1), softmax(scores, axis=1), test.labels)
        rows.append(_row("one_hot_index", "tau", tau, hot.tau, "columns 0 and 1 are ranked, not the true class"))
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
        rows += _solver_rows(config, train, test, tau, scores)
    if config.kernel.kind == "conjugate" and isinstance(model, LinearKernelClassifier):
        rows.append(_squared_row(train, test, model, tau))
    return rows


def _solver_rows(
    config: RunConfig, train: KernelSide, test: KernelSide, tau: float, scores: np.ndarray
) -> list[PublishedRow]:
    alpha = config.surrogate.alpha or 1e-4
    rows = []
    for seed in range(REFITS):
        refit = KernelGLM(alpha, solver="sgd", random_state=seed).fit(train.kernel, train.labels)
        found = refit.log_scores(test.kernel)
        pair = confidences(log_odds(test.network), log_odds(found), test.labels, "correct")
        right = [float((s.argmax(1) == test.labels).mean()) for s in (scores, found)]
        rows.append(_row("unseeded_solver", "tau", tau, kendall_tau(*pair), f"SGD, refit {seed}"))
        rows.append(_row("unseeded_solver", "accuracy", right[0], right[1], f"SGD, refit {seed}"))
    return rows


def _squared_row(train: KernelSide, test: KernelSide, model: LinearKernelClassifier, tau: float) -> PublishedRow:
    """Square the kernel over its training points; the published code also sums over the test points."""
    squared, across = (np.asarray(side.kernel, np.float64) @ train.kernel.T for side in (train, test))
    scale = np.sqrt(np.diagonal(squared).mean())
    refit = type(model)(**model.get_params()).fit((squared + squared.T) / (2 * scale**2), train.labels)
    found = refit.log_scores(across / scale**2)
    pair = confidences(log_odds(test.network), log_odds(found), test.labels, "correct")
    return _row("squared_conjugate", "tau", tau, kendall_tau(*pair), "kernel times its transpose, training points")


def _row(defect: str, quantity: str, corrected: float, published: float, note: str) -> PublishedRow:
    return {
        "defect": defect,
        "quantity": quantity,
        "corrected": finite_or_none(corrected),
        "published": finite_or_none(published),
        "note": note,
    }
