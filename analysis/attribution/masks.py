"""Judge attributions against a known mask: poisoned, mislabeled or duplicated training points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.stats import rankdata
from sklearn.metrics import average_precision_score, roc_auc_score


@dataclass(frozen=True)
class MaskRanking:
    """How well a score ranks a mask's points first.

    Attributes
    ----------
    precision, recall : dict of int to float
        At k, expected over random orders of tied scores.
    auprc : float
        Step-wise area under the precision-recall curve (average precision), ties taken as one step.
    roc_auc : float
        Ties averaged.
    prevalence : float
        Precision of a random order.
    n, n_marked : int
    """

    precision: dict[int, float]
    recall: dict[int, float]
    auprc: float
    roc_auc: float
    prevalence: float
    n: int
    n_marked: int


def rank_mask(scores: Float[np.ndarray, " n"], mask: Bool[np.ndarray, " n"], ks: Sequence[int] = ()) -> MaskRanking:
    """Evaluate one score per training point against a mask.

    Parameters
    ----------
    scores : ndarray, shape (n,)
        Larger means more suspected.
    mask : ndarray of bool, shape (n,)
        The truth.
    ks : sequence of int
        Cut-offs of precision and recall; always includes the number of marked points.

    Raises
    ------
    ValueError
        For an empty or full mask, with counts, and for NaN scores.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.attribution import rank_mask
    >>> poisoned = np.array([True, False, True, False, False])
    >>> found = rank_mask(np.array([0.9, 0.8, 0.7, 0.1, 0.0]), poisoned, ks=[1])
    >>> found.precision, round(found.auprc, 3)
    ({1: 1.0, 2: 0.5}, 0.833)
    """
    n, marked = len(mask), int(mask.sum())
    if marked in (0, n):
        raise ValueError(
            f"The mask marks {marked} of {n} points: precision and recall need both kinds. Check that the mask "
            "and the points come from the same data artifact."
        )
    if scores.shape != mask.shape or not np.isfinite(scores).all():
        raise ValueError(f"Scores {scores.shape} must be finite, one for each of the {n} points of the mask.")
    cuts = sorted({int(k) for k in ks} | {marked})
    if cuts[0] < 1 or cuts[-1] > n:
        raise ValueError(f"Cut-offs must be in 1..{n}, got {cuts}.")
    hits = {k: expected_hits(scores, mask, k) for k in cuts}
    return MaskRanking(
        precision={k: h / k for k, h in hits.items()},
        recall={k: h / marked for k, h in hits.items()},
        auprc=float(average_precision_score(mask, scores)),
        roc_auc=float(roc_auc_score(mask, scores)),
        prevalence=marked / n,
        n=n,
        n_marked=marked,
    )


def expected_hits(scores: Float[np.ndarray, " n"], mask: Bool[np.ndarray, " n"], k: int) -> float:
    """Return the number of marked points among the k best, averaged over orders of tied scores."""
    cut = np.partition(scores, len(scores) - k)[len(scores) - k]
    above, tied = scores > cut, scores == cut
    return float(mask[above].sum() + mask[tied].mean() * (k - above.sum()))


@dataclass(frozen=True)
class FlagQuality:
    """Precision and recall of flagged test points; precision is NaN when nothing is flagged."""

    precision: float
    recall: float
    n_flagged: int
    n_true: int
    n: int


def flag_tests(
    top: Int[np.ndarray, "m k"], injected: Bool[np.ndarray, " n"], threshold: float = 0.5
) -> Bool[np.ndarray, " m"]:
    """Flag test points of whose top-k attributed training points more than `threshold` are injected."""
    return injected[top].mean(1) > threshold


def flag_quality(flags: Bool[np.ndarray, " m"], truth: Bool[np.ndarray, " m"]) -> FlagQuality:
    """Compare flags with the test points that really carry the trigger."""
    flagged, true = int(flags.sum()), int(truth.sum())
    if true in (0, len(truth)):
        raise ValueError(f"{true} of {len(truth)} test points carry the trigger: both kinds are needed.")
    hits = int((flags & truth).sum())
    return FlagQuality(hits / flagged if flagged else float("nan"), hits / true, flagged, true, len(truth))


def stability(first: Float[np.ndarray, "m n"], second: Float[np.ndarray, "m n"]) -> Float[np.ndarray, " m"]:
    """Spearman's ρ between two attributions of the same test points (two seeds, two sketch sizes), per point."""
    a, b = rankdata(first, axis=1), rankdata(second, axis=1)
    a, b = a - a.mean(1, keepdims=True), b - b.mean(1, keepdims=True)
    scale = np.sqrt((a**2).sum(1) * (b**2).sum(1))
    return np.divide((a * b).sum(1), scale, out=np.full(len(a), np.nan), where=scale > 0)
