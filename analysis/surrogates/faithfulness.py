"""How closely a surrogate follows its network: accuracy difference, rank correlations, shared errors.

All inputs are unnormalized log-probabilities (a network's logits, a surrogate's `log_scores`), so that no
confidence saturates: the log-odds log(p/(1-p)) of class c is s_c - logsumexp of the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import logsumexp
from scipy.stats import binom, rankdata

from analysis.classifier_metrics import calibration_error, negative_log_likelihood, top_label_confidence
from analysis.resampling import interval_from_draws, multiplicities
from analysis.surrogates.rank_correlations import kendall_tau, rounded_ranks, spearman, tied_points
from kernels.arguments import checked_arguments

Confidence = Literal["correct", "predicted", "every", "wrong", "margin"]
CONFIDENCES: tuple[Confidence, ...] = ("correct", "predicted", "every", "wrong", "margin")


@dataclass(frozen=True)
class Measure:
    """One row of the faithfulness table.

    Attributes
    ----------
    metric, variant, subset : str
    n : int
        Points behind the value (after `dropped`).
    value, low, high : float
        Estimate and 95 % bootstrap interval over test points; NaN where undefined, with `note` saying why.
    ties : int
        Points that share their confidence with another, up to rounding, in either model.
    dropped : int
        Points left out by the variant.
    note : str
    """

    metric: str
    variant: str
    subset: str
    n: int
    value: float
    low: float = float("nan")
    high: float = float("nan")
    ties: int = 0
    dropped: int = 0
    note: str = ""


def binary_log_scores(output: Float[np.ndarray, " n"]) -> Float[np.ndarray, "n 2"]:
    """Log-probabilities of a network with one sigmoid output f: columns 0 and f, whose log-odds are ∓f.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.surrogates import binary_log_scores
    >>> binary_log_scores(np.array([2.0, -1.0]))
    array([[ 0.,  2.],
           [ 0., -1.]])
    """
    return np.stack([np.zeros_like(output), output], axis=1)


def log_odds(log_scores: Float[np.ndarray, "n C"]) -> Float[np.ndarray, "n C"]:
    """Return log(p_c / (1 - p_c)) for every class, exact however close p_c is to 0 or 1.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.surrogates import log_odds
    >>> log_odds(np.array([[0.0, 2.0], [0.0, -800.0]]))  # no probability saturates
    array([[  -2.,    2.],
           [ 800., -800.]])
    """
    n, n_classes = log_scores.shape
    if n_classes < 2:
        raise ValueError("Log-odds need at least 2 columns; wrap a single output in binary_log_scores.")
    rest = np.stack([logsumexp(np.delete(log_scores, c, axis=1), axis=1) for c in range(n_classes)], axis=1).reshape(
        n, n_classes
    )
    return log_scores - rest


def confidences(
    network: Float[np.ndarray, "n C"],
    surrogate: Float[np.ndarray, "n C"],
    labels: Int[np.ndarray, " n"],
    kind: Confidence,
) -> tuple[Float[np.ndarray, "n k"], Float[np.ndarray, "n k"]]:
    """Return the scalar confidences that are ranked, one column each.

    Parameters
    ----------
    network, surrogate : ndarray, shape (n, C)
        Log-odds per class (`log_odds`).
    labels : ndarray of int, shape (n,)
        True classes.
    kind : str
        "correct": the true class. "predicted": the network's class. "every": each class, one column per
        class. "wrong": the network's strongest wrong class. "margin": true class minus strongest other class,
        each model with its own.

    Returns
    -------
    network, surrogate : ndarray, shape (n, k)
    """
    if kind == "every":
        return network, surrogate
    rows = np.arange(len(labels))
    masked_n, masked_s = network.copy(), surrogate.copy()
    masked_n[rows, labels] = masked_s[rows, labels] = -np.inf
    if kind == "margin":
        pair = (network[rows, labels] - masked_n.max(1), surrogate[rows, labels] - masked_s.max(1))
    else:
        if kind == "correct":
            column = labels
        elif kind == "predicted":
            column = network.argmax(1)
        elif kind == "wrong":
            column = masked_n.argmax(1)
        else:
            raise ValueError(f"kind must be one of {CONFIDENCES}, got {kind!r}.")
        pair = (network[rows, column], surrogate[rows, column])
    return pair[0][:, None], pair[1][:, None]


def explained_variance(network: Float[np.ndarray, "n k"], surrogate: Float[np.ndarray, "n k"]) -> float:
    """R² of the least-squares line from the surrogate's log-odds to the network's, averaged over columns."""
    values = []
    for y, x in zip(network.T, surrogate.T, strict=True):
        if np.ptp(y) == 0:
            return float("nan")
        design = np.stack([x, np.ones_like(x)], axis=1)
        residual = y - design @ np.linalg.lstsq(design, y, rcond=None)[0]
        values.append(1 - float(residual @ residual) / float(((y - y.mean()) ** 2).sum()))
    return float(np.mean(values))


def miss_rate(network_wrong: Bool[np.ndarray, " n"], surrogate_wrong: Bool[np.ndarray, " n"]) -> float:
    """R_miss, form `nn`: share of the network's errors that the surrogate repeats; NaN without errors."""
    errors = int(network_wrong.sum())
    return float((network_wrong & surrogate_wrong).sum() / errors) if errors else float("nan")


def miss_jaccard(network_wrong: Bool[np.ndarray, " n"], surrogate_wrong: Bool[np.ndarray, " n"]) -> float:
    """R_miss, form `jaccard`: errors of both over errors of either; NaN without errors."""
    either = int((network_wrong | surrogate_wrong).sum())
    return float((network_wrong & surrogate_wrong).sum() / either) if either else float("nan")


def shared_errors_p_value(network_wrong: Bool[np.ndarray, " n"], surrogate_wrong: Bool[np.ndarray, " n"]) -> float:
    """Probability of at least as many shared errors if errors fell independently (binomial null)."""
    chance = float(network_wrong.mean() * surrogate_wrong.mean())
    both = int((network_wrong & surrogate_wrong).sum())
    return float(binom.sf(both - 1, len(network_wrong), chance))


@checked_arguments
def measure_faithfulness(
    network: Float[np.ndarray, "n C"],
    surrogate: Float[np.ndarray, "_ _"],
    labels: Int[np.ndarray, " _"],
    *,
    subsets: Mapping[str, Bool[np.ndarray, " _"]] | None = None,
    n_resamples: int = 200,
    rng: np.random.Generator | None = None,
) -> list[Measure]:
    """Compare a surrogate with its network on test points, with bootstrap intervals over points.

    Parameters
    ----------
    network, surrogate : ndarray, shape (n, C)
        Unnormalized log-probabilities on the same test points, in the same class order.
    labels : ndarray of int, shape (n,)
        True classes, 0..C-1 (`analysis.checks.class_labels` normalizes one-hot rows).
    subsets : mapping of str to bool mask, or None
        Parts reported separately (clean, shifted, poisoned). None: all points, called "all".
    n_resamples : int
        Bootstrap resamples for each interval; 0 leaves intervals NaN.
    rng : numpy Generator or None
        Source of the resamples; required when n_resamples > 0.

    Returns
    -------
    list of Measure
        TAD (acc(surrogate) - acc(network)), both accuracies, Kendall's τ and Spearman's ρ for each confidence,
        R², R_miss in both forms with the null's p-value, agreement, and both models' calibration errors and
        negative log-likelihoods.

    Raises
    ------
    ValueError
        For mismatched shapes, non-finite scores, labels out of range or an empty subset.

    References
    ----------
    Engel et al., arXiv:2305.14585, section 4 (TAD, τ_K, R_miss).

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.surrogates import measure_faithfulness
    >>> rng = np.random.default_rng(0)
    >>> network = rng.normal(size=(200, 3))
    >>> surrogate, labels = network + 0.1 * rng.normal(size=(200, 3)), rng.integers(0, 3, 200)
    >>> rows = measure_faithfulness(network, surrogate, labels, n_resamples=0)
    >>> {(row.metric, row.variant): round(row.value, 2) for row in rows}["kendall", "correct"]
    0.94
    """
    _check(network, surrogate, labels)
    if n_resamples and rng is None:
        raise ValueError("Bootstrap intervals need rng=numpy.random.default_rng(seed), or n_resamples=0.")
    rows: list[Measure] = []
    for name, mask in (subsets or {"all": np.ones(len(labels), bool)}).items():
        if not isinstance(mask, np.ndarray) or mask.dtype != bool:
            raise ValueError(f"subsets[{name!r}] is a {type(mask).__name__}: a NumPy mask of truth values is needed.")
        if mask.shape != labels.shape or not mask.any():
            raise ValueError(f"Subset {name!r} selects {int(mask.sum())} of {len(labels)} points (mask {mask.shape}).")
        part = (network[mask].astype(np.float64), surrogate[mask].astype(np.float64), labels[mask])
        rows.extend(_measures(name, *part, n_resamples, rng))
    return rows


def _check(network: np.ndarray, surrogate: np.ndarray, labels: np.ndarray) -> None:
    if network.shape != surrogate.shape or len(labels) != len(network):
        raise ValueError(
            f"Scores of the same test points are needed: network {network.shape}, surrogate {surrogate.shape}, "
            f"labels {labels.shape}."
        )
    for name, scores in (("network", network), ("surrogate", surrogate)):
        bad = ~np.isfinite(scores).all(1)
        if bad.any():
            raise ValueError(
                f"{int(bad.sum())} rows of the {name}'s scores are not finite (first: {int(bad.argmax())}). Pass "
                "logits or log-scores; log of a probability that rounded to 0 has lost its rank."
            )
    if ((labels < 0) | (labels >= network.shape[1])).any():
        raise ValueError(f"Labels must be in 0..{network.shape[1] - 1}, got {labels.min()}..{labels.max()}.")


def _measures(
    subset: str,
    network: np.ndarray,
    surrogate: np.ndarray,
    labels: np.ndarray,
    n_resamples: int,
    rng: np.random.Generator | None,
) -> list[Measure]:
    n = len(labels)
    draws = [] if rng is None else [np.repeat(np.arange(n), multiplicities(n, rng)) for _ in range(n_resamples)]

    def measure(
        metric: str, variant: str, statistic: Callable[[np.ndarray], float], *, ties: int = 0, note: str = ""
    ) -> Measure:
        value = statistic(np.arange(n))
        if not np.isfinite(value):
            return Measure(metric, variant, subset, n, float("nan"), ties=ties, note=note)
        resampled = np.array([statistic(draw) for draw in draws])
        resampled = resampled[np.isfinite(resampled)]  # a resample without errors has no R_miss
        if not resampled.size:
            return Measure(metric, variant, subset, n, value, ties=ties)
        interval = interval_from_draws(value, resampled, kind="percentile")
        return Measure(metric, variant, subset, n, value, float(interval.low), float(interval.high), ties)

    right_n, right_s = network.argmax(1) == labels, surrogate.argmax(1) == labels
    same = network.argmax(1) == surrogate.argmax(1)
    odds_n, odds_s = log_odds(network), log_odds(surrogate)
    correct = confidences(odds_n, odds_s, labels, "correct")
    no_error = "undefined: the network makes no error here"
    rows = [
        measure("accuracy", "network", lambda i: float(right_n[i].mean())),
        measure("accuracy", "surrogate", lambda i: float(right_s[i].mean())),
        measure("tad", "", lambda i: float(right_s[i].mean() - right_n[i].mean())),
        measure("agreement", "", lambda i: float(same[i].mean())),
        measure("r_miss", "nn", lambda i: miss_rate(~right_n[i], ~right_s[i]), note=no_error),
        measure("r_miss", "jaccard", lambda i: miss_jaccard(~right_n[i], ~right_s[i]), note="undefined: no errors"),
        Measure("r_miss", "null p-value", subset, n, shared_errors_p_value(~right_n, ~right_s)),
        measure("r2", "correct", lambda i: explained_variance(correct[0][i], correct[1][i]), note="constant"),
    ]
    for kind in CONFIDENCES:
        a, b = confidences(odds_n, odds_s, labels, kind)
        # Kendall and Spearman depend on ranks alone; equal votes of neighbors differ by the rounding of a logarithm
        dense = rounded_ranks(a), rounded_ranks(b)
        ranks = rankdata(dense[0], axis=0), rankdata(dense[1], axis=0)
        ties, note = max(map(tied_points, dense)), "undefined: a confidence is constant"
        for metric, correlate in (("kendall", kendall_tau), ("spearman", spearman)):
            statistic = partial(_resampled, correlate, *ranks)
            rows.append(measure(metric, kind, statistic, ties=ties, note=note))
    both = np.stack([network, surrogate])
    sure, right = top_label_confidence(both), both.argmax(-1) == labels
    for model, name in enumerate(("network", "surrogate")):
        one = slice(model, model + 1)
        ece = partial(_calibration, sure[one], right[one])
        rows.append(measure("ece", name, ece))
        rows.append(measure("nll", name, partial(_likelihood, both[one], labels)))
    return rows


def _resampled(
    correlate: Callable[[np.ndarray, np.ndarray], float], a: np.ndarray, b: np.ndarray, taken: np.ndarray
) -> float:
    return correlate(a[taken], b[taken])


def _calibration(confidence: np.ndarray, right: np.ndarray, taken: np.ndarray) -> float:
    return float(calibration_error(confidence[:, taken], right[:, taken], scheme="adaptive")[0])


def _likelihood(scores: np.ndarray, labels: np.ndarray, taken: np.ndarray) -> float:
    return float(negative_log_likelihood(scores[:, taken], labels[taken])[0])
