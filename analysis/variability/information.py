"""Does the trimming level say more than accuracy, churn and calibration? The cross-validated test of claim B2.

The share of the variance of level ranks that the three cannot predict is set against the share that is noise: what
levels on one half of the test set cannot say about levels on the other half.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from scipy import stats

from analysis.resampling import Interval, bootstrap_interval, correlation
from analysis.variability.claims import ClaimVerdict
from analysis.verdicts.superseded import NOT_REPRODUCED, REPRODUCED, UNDECIDED

COMPANIONS = ("accuracy", "churn", "ece")


def unexplained_share(
    levels: Float[np.ndarray, " m"],
    companions: Float[np.ndarray, "m c"],
    *,
    folds: Int[np.ndarray, " m"],
) -> float:
    """Share of the rank variance of levels that a cross-validated linear regression on ranks leaves open.

    Quadratic terms are included, so that a level which rises on both sides of the typical accuracy is predicted too.

    Parameters
    ----------
    levels : ndarray, shape (m,)
        Levels.
    companions : ndarray, shape (m, c)
        Competing metrics.
    folds : ndarray of int, shape (m,)
        Fold of each run; copies of a run must share one.
    """
    target = stats.rankdata(levels) / len(levels) - 0.5
    ranks = stats.rankdata(companions, axis=0) / len(levels) - 0.5
    design = np.column_stack([np.ones(len(levels)), ranks, ranks**2])
    left, base = np.empty(len(levels)), np.empty(len(levels))
    for fold in np.unique(folds):
        test = folds == fold
        coefficients, *_ = np.linalg.lstsq(design[~test], target[~test], rcond=None)
        left[test] = target[test] - design[test] @ coefficients
        base[test] = target[test] - target[~test].mean()
    return float(min(1.0, (left**2).sum() / max((base**2).sum(), 1e-300)))


def unexplained_interval(
    levels: Float[np.ndarray, " m"], companions: Float[np.ndarray, "m c"], *, rng: np.random.Generator, folds: int = 5
) -> Interval:
    """Unexplained share with its percentile interval over resampled runs."""
    fold = rng.permutation(np.arange(len(levels)) % folds)

    def share(counts: Int[np.ndarray, " m"]) -> float:
        taken = np.repeat(np.arange(len(levels)), counts)
        return unexplained_share(levels[taken], companions[taken], folds=fold[taken])

    return bootstrap_interval(share, len(levels), draws=300, rng=rng, kind="percentile")


def split_half_noise(first: Float[np.ndarray, " m"], second: Float[np.ndarray, " m"]) -> float:
    """Share of rank variance that is test-set noise, from levels on two halves of the examples.

    One minus the Spearman-Brown corrected correlation of the halves: the noise of the full test set.
    """
    half = max(0.0, correlation(first, second))
    return 1 - 2 * half / (1 + half)


def look_alikes(
    levels: Float[np.ndarray, " m"],
    draws: Float[np.ndarray, "b m"],
    companions: Float[np.ndarray, "m c"],
    errors: Float[np.ndarray, " c"],
) -> tuple[int, float]:
    """Pairs of runs alike in every companion but apart in level, and how many noise alone would give.

    Parameters
    ----------
    levels, draws : ndarray, shape (m,) and (b, m)
        Levels of the data and of joint draws.
    companions : ndarray, shape (m, c)
        Competing metrics.
    errors : ndarray, shape (c,)
        Standard error of each.

    Returns
    -------
    found : int
        Pairs within one standard error in each companion and more than two apart in level.
    expected : float
        Mean count where all runs have one level and differ by the draws' deviations.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.variability import look_alikes
    >>> levels = np.array([0.10, 0.11, 0.40])
    >>> draws = levels + 0.02 * np.random.default_rng(0).normal(size=(100, 3))
    >>> accuracy = np.array([[0.90], [0.90], [0.90]])  # equal, so that it cannot tell the runs apart
    >>> found, expected = look_alikes(levels, draws, accuracy, np.array([0.01]))
    >>> found, round(expected, 1)
    (2, 0.1)
    """
    rows, columns = np.triu_indices(len(levels), 1)
    alike = (np.abs(companions[rows] - companions[columns]) <= errors).all(axis=1)
    rows, columns = rows[alike], columns[alike]
    deviations = draws - draws.mean(axis=0)
    apart = 2 * np.array([(deviations[:, i] - deviations[:, j]).std() for i, j in zip(rows, columns, strict=True)])
    found = int((np.abs(levels[rows] - levels[columns]) > apart).sum())
    noise = np.abs(deviations[:, rows] - deviations[:, columns]) > apart
    return found, float(noise.sum(axis=1).mean())


def claim_b2(
    levels: Sequence[Float[np.ndarray, " m"]],
    halves: Sequence[Float[np.ndarray, "2 m"]],
    companions: Sequence[Float[np.ndarray, "m c"]],
    *,
    rng: np.random.Generator,
    need: int = 100,
    repeats: int = 3,
) -> ClaimVerdict:
    """B2: the level says more than accuracy, churn and ECE alone.

    Parameters
    ----------
    levels : sequence of ndarray, shape (m,)
        Levels of each repeat (an independent set of candidates).
    halves : sequence of ndarray, shape (2, m)
        Levels on two halves of the test examples.
    companions : sequence of ndarray, shape (m, 3)
        Accuracy, churn and ECE.
    rng : numpy.random.Generator
        Source of folds and draws.
    need, repeats : int
        Candidates in each repeat and repeats that a decision needs.
    """
    smallest = min(len(one) for one in levels)
    test = "cross-validated unexplained share of level ranks exceeds split-half noise in every repeat"
    needs = f"needs {repeats} repeats of {need} candidates"
    if smallest < 10:
        return ClaimVerdict("B2", UNDECIDED, np.nan, np.nan, np.nan, smallest, f"{test}; {needs}")
    shares = [unexplained_interval(one, others, rng=rng) for one, others in zip(levels, companions, strict=True)]
    noises = [split_half_noise(pair[0], pair[1]) for pair in halves]
    verdict = UNDECIDED
    if smallest >= need and len(levels) >= repeats:
        if all(share.low > noise for share, noise in zip(shares, noises, strict=True)):
            verdict = REPRODUCED
        elif all(share.high < noise for share, noise in zip(shares, noises, strict=True)):
            verdict = NOT_REPRODUCED
    details = {"split_half_noise": float(np.mean(noises)), "repeats": float(len(levels))}
    for column, name in enumerate(COMPANIONS):
        values = [correlation(one, others[:, column]) for one, others in zip(levels, companions, strict=True)]
        details[f"r_level_{name}"] = float(np.mean(values))
    return ClaimVerdict(
        "B2",
        verdict,
        float(np.mean([share.estimate for share in shares])),
        float(min(share.low for share in shares)),
        float(max(share.high for share in shares)),
        smallest,
        f"{test}; {needs}",
        details,
    )
