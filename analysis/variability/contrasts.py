"""How much one group of runs varies, and how much more than another, with intervals that hold for few runs too."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import combinations

import numpy as np
from jaxtyping import Float, Int
from scipy import stats

from analysis.resampling import Interval, jackknife_interval

Spread = Mapping[str, Float[np.ndarray, "..."]]
"""Measures of variability of a group of m runs: (m,) values of single runs, or (m, m) values of pairs."""


def group_mean(values: Float[np.ndarray, "..."], taken: Int[np.ndarray, " m"] | None = None) -> float:
    """Mean over runs, or over pairs of distinct runs, with multiplicities.

    Parameters
    ----------
    values : ndarray, shape (m,) or (m, m)
        One value per run, or a symmetric matrix over pairs whose diagonal plays no part.
    taken : ndarray of int, shape (m,), optional
        How often each run was drawn; copies of one run are no pair.

    Returns
    -------
    float
        NaN if every draw took the same run.
    """
    weights = np.ones(len(values), dtype=np.int64) if taken is None else taken
    if values.ndim == 1:
        return float(values @ weights / weights.sum())
    pairs = np.outer(weights, weights) * (1 - np.eye(len(weights)))
    return float((values * pairs).sum() / pairs.sum()) if pairs.any() else float("nan")


def group_interval(
    values: Float[np.ndarray, "..."], *, level: float = 0.95, low: float = -math.inf, high: float = math.inf
) -> Interval:
    """Mean of one group with an interval over runs, which leaves one of them out at a time (jackknife).

    Drawing runs with replacement makes too little of few of them: for the churn of 3, 5 and 10 runs a percentile
    bootstrap held the true value in 58, 77 and 86 % of simulated studies, this interval in 96, 94 and 94 %.

    Parameters
    ----------
    values : ndarray, shape (m,) or (m, m)
        One value per run, or a symmetric matrix over pairs.
    level : float
        Nominal coverage.
    low, high : float
        Range that the mean cannot leave; the ends are cut there.

    Returns
    -------
    Interval
        With ends NaN for fewer than 3 runs, or runs that do not differ: these say nothing about others.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.variability import group_interval
    >>> rng = np.random.default_rng(0)
    >>> group_interval(rng.normal(0.2, 0.05, size=30)).describe()
    '0.194 [0.179, 0.209]'
    """
    mean, error, runs = group_mean(values), _standard_error(values), len(values)
    half = float(stats.t.ppf(0.5 + level / 2, runs - 1)) * error if runs > 1 else math.nan
    ends = (math.nan, math.nan) if math.isnan(half) else (max(mean - half, low), min(mean + half, high))
    return Interval(mean, *ends, mean, error, level, "jackknife", runs)


def _standard_error(values: Float[np.ndarray, "..."]) -> float:
    """Find the standard error of a mean by leaving out one run at a time; NaN where the runs do not tell it."""
    runs = len(values)
    if runs < 3:
        return math.nan
    if values.ndim == 1:
        rest = (values.sum() - values) / (runs - 1)
    else:
        pairs = np.where(np.eye(runs, dtype=bool), 0.0, values)
        rest = (pairs.sum() - 2 * pairs.sum(axis=1)) / ((runs - 1) * (runs - 2))
    error = jackknife_interval(group_mean(values), rest).standard_error
    return float(error) if error > 1e-12 * max(1.0, float(np.abs(rest).max())) else math.nan


def contrast(first: Spread, second: Spread, *, level: float = 0.95) -> dict[str, Interval]:
    """Differences of two groups' mean variability, first minus second, with intervals over the runs of either.

    Standard errors leave out one run at a time: a mean over pairs is a U-statistic, and taking the mean churn of each
    run as if runs were independent would give intervals of half the width. They are put together as Welch does for
    means of groups that vary differently.

    Parameters
    ----------
    first, second : mapping of str to ndarray
        Measures present in both are compared.
    level : float
        Nominal coverage of each interval.

    Returns
    -------
    dict of str to Interval
        With ends NaN where a group has fewer than 3 runs, or the runs of neither differ.

    Raises
    ------
    ValueError
        If a group has fewer than 2 runs.

    References
    ----------
    B. L. Welch, The generalization of "Student's" problem when several different population variances are involved,
    Biometrika 34 (1947).

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.variability import contrast
    >>> rng = np.random.default_rng(0)
    >>> scratch, tuned = {"level": rng.normal(0.3, 0.05, size=20)}, {"level": rng.normal(0.1, 0.05, size=20)}
    >>> contrast(scratch, tuned)["level"].describe()
    '0.188 [0.162, 0.213]'
    """
    found = {}
    for name in (name for name in first if name in second):
        groups = first[name], second[name]
        runs = [len(values) for values in groups]
        if min(runs) < 2:
            raise ValueError(f"{name}: a contrast needs at least 2 runs a side, got {runs[0]} and {runs[1]}")
        difference = group_mean(groups[0]) - group_mean(groups[1])
        half, error = math.nan, math.nan
        if min(runs) > 2:
            squares = np.nan_to_num([_standard_error(values) for values in groups]) ** 2
            if squares.any():
                error = float(squares.sum()) ** 0.5
                freedom = squares.sum() ** 2 / float((squares**2 / (np.array(runs) - 1)).sum())
                half = float(stats.t.ppf(0.5 + level / 2, freedom)) * error
        found[name] = Interval(
            difference, difference - half, difference + half, difference, error, level, "jackknife", sum(runs)
        )
    return found


def all_contrasts(groups: Mapping[str, Spread]) -> dict[tuple[str, str], dict[str, Interval]]:
    """Contrast every pair of groups, in their order, with intervals that hold for all pairs together (Bonferroni)."""
    pairs = list(combinations(groups, 2))
    level = 1 - 0.05 / max(1, len(pairs))
    return {(one, other): contrast(groups[one], groups[other], level=level) for one, other in pairs}
