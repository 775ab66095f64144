"""What is usually reported alongside a trimming level: accuracy, churn, calibration, loss, and quantiles of the gap.

Logits are (runs, examples, classes); the gap of two classes is (runs, examples) with decision m > 0. All metrics
take optional example multiplicities where a bootstrap needs them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int, Num
from scipy.special import expit, log_softmax

from kernels.arguments import checked_arguments

GAP_QUANTILES = (0.01, 0.05, 0.25, 0.50, 0.75, 0.95, 0.99)
Outputs = Float[np.ndarray, "m n"] | Float[np.ndarray, "m n k"]
Weights = Num[np.ndarray, " n"] | None


def logits_of_gaps(gaps: Float[np.ndarray, "m n"]) -> Float[np.ndarray, "m n 2"]:
    """Symmetric two-class logits with these gaps, for the metrics that take logits."""
    return np.stack([-gaps / 2, gaps / 2], axis=-1)


def decisions(outputs: Outputs) -> Int[np.ndarray, "m n"]:
    """Decide class 1 where the gap is positive (0 counts as class 0), or the first largest logit."""
    return (outputs > 0).astype(np.int64) if outputs.ndim == 2 else outputs.argmax(axis=-1)


def accuracy(
    decided: Int[np.ndarray, "m n"], labels: Int[np.ndarray, " n"], weights: Weights = None
) -> Float[np.ndarray, " m"]:
    """Share of right decisions of each run."""
    return _mean((decided == labels).astype(np.float64), weights)


def _mean(values: Float[np.ndarray, "m n"], weights: Weights) -> Float[np.ndarray, " m"]:
    if weights is None:
        return values.mean(axis=1)
    return values @ weights / weights.sum()


def reference_decisions(outputs: Outputs, *, rule: Literal["logit_mean", "majority"]) -> Int[np.ndarray, " n"]:
    """Decision of the whole set of runs: of the mean logits, or of the majority (ties to the smaller class)."""
    if rule == "logit_mean":
        return decisions(outputs.mean(axis=0, keepdims=True))[0]
    decided = decisions(outputs)
    classes = 2 if outputs.ndim == 2 else outputs.shape[-1]
    votes = np.stack([(decided == label).sum(axis=0) for label in range(classes)])
    return votes.argmax(axis=0)


def churn_against(
    decided: Int[np.ndarray, "m n"], reference: Int[np.ndarray, " n"], weights: Weights = None
) -> Float[np.ndarray, " m"]:
    """Share of examples on which each run's decision differs from a reference decision."""
    return _mean((decided != reference).astype(np.float64), weights)


def churn_matrix(decided: Int[np.ndarray, "m n"], weights: Weights = None) -> Float[np.ndarray, "m m"]:
    """Share of differing decisions of every pair of runs.

    |acc - acc'| <= churn <= err + err' holds for each pair.
    """
    share = np.ones(decided.shape[1]) if weights is None else weights.astype(np.float64)
    agree = np.zeros((len(decided), len(decided)))
    for label in np.unique(decided):
        chosen = (decided == label).astype(np.float64)
        agree += (chosen * share) @ chosen.T  # sums of integers: exact for any number of threads
    churn = (share.sum() - agree) / share.sum()
    np.fill_diagonal(churn, 0)
    return churn


def mean_churn(matrix: Float[np.ndarray, "m m"]) -> Float[np.ndarray, " m"]:
    """Mean churn of each run against all others."""
    return matrix.sum(axis=1) / (len(matrix) - 1)


def error_agreement(decided: Int[np.ndarray, "m n"], labels: Int[np.ndarray, " n"]) -> Float[np.ndarray, "m m"]:
    """Cohen's kappa of the error indicators of every pair of runs: 1 same errors, 0 as by chance.

    NaN where both runs make no error or only errors, so that chance agreement is certain.
    """
    wrong = (decided != labels).astype(np.float64)
    rate = wrong.mean(axis=1)
    both = wrong @ wrong.T / wrong.shape[1]
    observed = both + (1 - rate[:, None] - rate[None, :] + both)
    chance = rate[:, None] * rate[None, :] + (1 - rate[:, None]) * (1 - rate[None, :])
    certain = 1 - chance < 1e-15
    return np.where(certain, np.nan, (observed - chance) / np.where(certain, 1, 1 - chance))


def top_label_confidence(outputs: Outputs) -> Float[np.ndarray, "m n"]:
    """Probability of the decided class: sigmoid(|m|) for gaps, the largest softmax output for logits."""
    return expit(np.abs(outputs)) if outputs.ndim == 2 else np.exp(log_softmax(outputs, axis=-1).max(axis=-1))


def calibration_error(
    confidence: Float[np.ndarray, "m n"],
    correct: Bool[np.ndarray, "m n"],
    *,
    bins: int = 15,
    scheme: Literal["uniform", "adaptive"] = "uniform",
    low: float | int = 0.0,
    weights: Weights = None,
) -> Float[np.ndarray, " m"]:
    """Measure each run's expected calibration error sum_b |B_b|/N |acc_b - conf_b| (arXiv 1706.04599).

    Parameters
    ----------
    confidence : ndarray, shape (m, n)
        Probability of the decided class.
    correct : ndarray of bool, shape (m, n)
        Whether the decision is right. Not the label: scoring P(class 1) against the label is another quantity.
    bins : int
        Number of bins.
    scheme : {"uniform", "adaptive"}
        Bins of equal width on [low, 1], each without its lower end, or of equal count in order of confidence.
    low : float
        Where the first uniform bin starts; with 0 and two classes, half the bins stay empty.
    weights : ndarray, shape (n,), optional
        Example multiplicities.
    """
    if bins < 1 or not 0 <= low < 1:
        raise ValueError(f"bins = {bins} must be at least 1 and low = {low} in [0, 1)")
    share = np.ones(confidence.shape[1]) if weights is None else weights.astype(np.float64)
    errors = np.empty(len(confidence))
    for run, (belief, right) in enumerate(zip(confidence, correct, strict=True)):
        if scheme == "uniform":
            index = np.clip(np.ceil((belief - low) / (1 - low) * bins).astype(np.int64) - 1, 0, bins - 1)
        else:
            order = np.argsort(belief, kind="stable")
            before = np.cumsum(share[order]) - share[order] / 2
            index = np.empty(len(belief), dtype=np.int64)
            index[order] = np.minimum((before / share.sum() * bins).astype(np.int64), bins - 1)
        gap = np.bincount(index, weights=share * (right - belief), minlength=bins)
        errors[run] = np.abs(gap).sum() / share.sum()
    return errors


def label_probabilities(outputs: Outputs) -> Float[np.ndarray, "m n _"]:
    """Probability of every class."""
    return np.exp(log_softmax(logits_of_gaps(outputs) if outputs.ndim == 2 else outputs, axis=-1))


def negative_log_likelihood(
    outputs: Outputs,
    labels: Int[np.ndarray, " n"],
    weights: Weights = None,
) -> Float[np.ndarray, " m"]:
    """Mean cross-entropy of each run in nats."""
    logp = log_softmax(logits_of_gaps(outputs) if outputs.ndim == 2 else outputs, axis=-1)
    return _mean(-logp[:, np.arange(len(labels)), labels], weights)


def brier_score(
    outputs: Outputs,
    labels: Int[np.ndarray, " n"],
    weights: Weights = None,
) -> Float[np.ndarray, " m"]:
    """Mean squared distance of the probabilities to the one-hot label, summed over classes (0 to 2)."""
    p = label_probabilities(outputs)
    return _mean((p**2).sum(axis=-1) - 2 * p[:, np.arange(len(labels)), labels] + 1, weights)


def gap_quantiles(gaps: Float[np.ndarray, "m n"], levels: Sequence[float] = GAP_QUANTILES) -> Float[np.ndarray, "m q"]:
    """Quantiles of each run's gaps."""
    return np.quantile(gaps, list(levels), axis=1).T


def largest_atom(gaps: Float[np.ndarray, "m n"]) -> Float[np.ndarray, " m"]:
    """Share of the most frequent value of each run: above delta it decides the level by itself."""
    return np.array([np.unique(row, return_counts=True)[1].max() for row in gaps]) / gaps.shape[1]


@checked_arguments
def run_metrics(
    outputs: Outputs,
    labels: Int[np.ndarray, " _"],
    *,
    bins: int = 15,
    churn: Float[np.ndarray, "m m"] | None = None,
) -> dict[str, Float[np.ndarray, " m"]]:
    """Companion metrics of every run, one column each.

    Measures of pairs of runs (``churn_mean``, ``error_agreement``) are means over the other runs; they are left out
    where they are not defined: for one run, and the agreement where a run makes no error.

    Parameters
    ----------
    outputs : ndarray, shape (m, n) or (m, n, k)
        Gaps of two classes or logits of k.
    labels : ndarray of int, shape (n,)
        True classes.
    bins : int
        Bins of the calibration errors.
    churn : ndarray, shape (m, m), optional
        `churn_matrix` of the decisions, where it is known already.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.classifier_metrics import run_metrics
    >>> gaps = np.array([[2.0, -1.0, 0.5], [1.5, -2.0, -0.5]])  # two runs, three examples
    >>> found = run_metrics(gaps, np.array([1, 0, 1]))
    >>> found["accuracy"].round(2), found["churn_mean"].round(2)
    (array([1.  , 0.67]), array([0.33, 0.33]))
    """
    if len(labels) != outputs.shape[1]:
        raise ValueError(f"{len(labels)} labels for {outputs.shape[1]} examples")
    decided = decisions(outputs)
    correct = decided == labels
    confidence = top_label_confidence(outputs)
    columns = {
        "accuracy": accuracy(decided, labels),
        "nll": negative_log_likelihood(outputs, labels),
        "brier": brier_score(outputs, labels),
        "ece": calibration_error(confidence, correct, bins=bins),
        "ece_adaptive": calibration_error(confidence, correct, bins=bins, scheme="adaptive"),
        "churn_logit_mean": churn_against(decided, reference_decisions(outputs, rule="logit_mean")),
        "churn_majority": churn_against(decided, reference_decisions(outputs, rule="majority")),
    }
    if len(decided) > 1:
        columns["churn_mean"] = mean_churn(churn_matrix(decided) if churn is None else churn)
        agreement = np.where(np.eye(len(decided), dtype=bool), np.nan, error_agreement(decided, labels))
        if not np.isnan(agreement).all(axis=1).any():
            columns["error_agreement"] = np.nanmean(agreement, axis=1)
    return columns
