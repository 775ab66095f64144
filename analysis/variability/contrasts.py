"""How much more one group of runs varies than another: differences with bootstrap intervals over runs."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import numpy as np
from jaxtyping import Float, Int

from analysis.resampling import Interval, check_draws, interval_from_draws, multiplicities

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


def group_interval(values: Float[np.ndarray, "..."], *, rng: np.random.Generator, draws: int = 1000) -> Interval:
    """Mean of one group with its percentile interval over runs; draws that took one run only are left out.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.variability import group_interval
    >>> rng = np.random.default_rng(0)
    >>> group_interval(rng.normal(0.2, 0.05, size=30), rng=rng).describe()
    '0.194 [0.180, 0.209]'
    """
    check_draws(draws, 0.95)
    drawn = np.array([group_mean(values, multiplicities(len(values), rng)) for _ in range(draws)])
    return interval_from_draws(group_mean(values), drawn[~np.isnan(drawn)], kind="percentile")


def contrast(
    first: Spread, second: Spread, *, rng: np.random.Generator, draws: int = 1000, level: float = 0.95
) -> dict[str, Interval]:
    """Differences of two groups' mean variability, first minus second, with percentile intervals over runs.

    The runs of either group are resampled by themselves. A mean over pairs is a U-statistic: resampling the mean
    churn of each run as if runs were independent would give intervals of half the width, so pairs are rebuilt
    from the runs that were drawn.

    Parameters
    ----------
    first, second : mapping of str to ndarray
        Measures present in both are compared.
    rng : numpy.random.Generator
        Source of the draws.
    draws : int
        Bootstrap draws.
    level : float
        Nominal coverage of each interval.

    Raises
    ------
    ValueError
        If a group has fewer than 2 runs.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.variability import contrast
    >>> rng = np.random.default_rng(0)
    >>> scratch, tuned = {"level": rng.normal(0.3, 0.05, size=20)}, {"level": rng.normal(0.1, 0.05, size=20)}
    >>> contrast(scratch, tuned, rng=rng)["level"].describe()
    '0.188 [0.162, 0.212]'
    """
    check_draws(draws, level)
    found = {}
    for name in (name for name in first if name in second):
        a, b = first[name], second[name]
        if min(len(a), len(b)) < 2:
            raise ValueError(f"{name}: a contrast needs at least 2 runs a side, got {len(a)} and {len(b)}")
        values = np.array(
            [
                group_mean(a, multiplicities(len(a), rng)) - group_mean(b, multiplicities(len(b), rng))
                for _ in range(draws)
            ]
        )
        kept = values[~np.isnan(values)]
        found[name] = interval_from_draws(group_mean(a) - group_mean(b), kept, level=level, kind="percentile")
    return found


def all_contrasts(
    groups: Mapping[str, Spread], *, rng: np.random.Generator, draws: int = 1000
) -> dict[tuple[str, str], dict[str, Interval]]:
    """Contrast every pair of groups, in their order, with intervals that hold for all pairs together (Bonferroni)."""
    pairs = list(combinations(groups, 2))
    level = 1 - 0.05 / max(1, len(pairs))
    draws = max(draws, 400 * len(pairs))  # ten draws in either tail
    return {
        (one, other): contrast(groups[one], groups[other], rng=rng, draws=draws, level=level) for one, other in pairs
    }
