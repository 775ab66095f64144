"""Which seed: runs in order of their trimming level, with the uncertainty of that order.

Select on validation examples, judge on test examples, and guard accuracy: the best of many noisy levels looks better
than it is (winner's curse).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy import stats

from analysis.resampling import interval_from_draws
from analysis.trimming.distributions import (
    Real,
    Rows,
    SortedRuns,
    StepReference,
    as_float_tensor,
    build_cells,
    sort_values,
)
from analysis.trimming.solver import robust_distance
from kernels.arguments import checked_arguments


@dataclass(frozen=True)
class SeedRanking:
    """Runs from the most to the least typical.

    Attributes
    ----------
    order : ndarray of int, shape (m,)
        Run indices by ascending level.
    rank_low, rank_high : ndarray, shape (m,)
        Interval of each run's rank (1 is best) over bootstrap draws; indexed by run, as all that follow.
    level_low, level_high : ndarray, shape (m,)
        Interval of each run's level: basic, whose upper end is at least that of the percentile interval where the
        lower one is cut at 0. A level cannot cross 0, so that draws near it do not lie around the level as the level
        lies around the truth, and the basic interval alone would often have no width there.
        Where all draws are 0, a level above 0 is at most as probable as 3 in their number, which is the upper end.
    ties_with_best : ndarray of bool, shape (m,)
        The draws do not separate the run from the best one.
    share_best : ndarray, shape (m,)
        Share of draws in which the run has the lowest level (shared among ties).
    """

    order: Int[np.ndarray, " m"]
    rank_low: Float[np.ndarray, " m"]
    rank_high: Float[np.ndarray, " m"]
    level_low: Float[np.ndarray, " m"]
    level_high: Float[np.ndarray, " m"]
    ties_with_best: Bool[np.ndarray, " m"]
    share_best: Float[np.ndarray, " m"]


@checked_arguments
def rank_seeds(
    levels: Float[np.ndarray, " m"], draws: Float[np.ndarray, "b m"], *, coverage: Real = 0.95
) -> SeedRanking:
    """Rank runs by level, with intervals from joint bootstrap draws of the levels.

    Parameters
    ----------
    levels : ndarray, shape (m,)
        Levels of the data.
    draws : ndarray, shape (b, m)
        Levels of the same runs in each draw (`analysis.trimming.bootstrap_levels`).
    coverage : float
        Nominal coverage of the intervals.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.variability import rank_seeds
    >>> rng = np.random.default_rng(0)
    >>> levels = np.array([0.30, 0.10, 0.11])
    >>> draws = levels + 0.02 * rng.normal(size=(100, 3))  # as `analysis.trimming.bootstrap_levels` returns
    >>> ranking = rank_seeds(levels, draws)
    >>> ranking.order, ranking.ties_with_best
    (array([1, 2, 0]), array([False,  True,  True]))
    """
    if not 0 < coverage < 1:
        raise ValueError(f"coverage={coverage} must be between 0 and 1, such as coverage=0.95.")
    order = np.argsort(levels, kind="stable")
    ranks = stats.rankdata(draws, axis=1)
    tail = (1 - coverage) / 2
    low, high = np.quantile(ranks, [tail, 1 - tail], axis=0)
    interval = interval_from_draws(levels, draws, level=float(coverage))
    level_low, level_high = np.asarray(interval.low), np.maximum(interval.high, levels)
    level_high = np.where(level_low <= 0, np.maximum(level_high, np.quantile(draws, 1 - tail, axis=0)), level_high)
    level_high = np.where((levels == 0) & ~draws.any(axis=0), 3 / len(draws), level_high)
    behind = draws - draws[:, order[:1]]
    lead = np.quantile(behind, tail, axis=0)
    lowest = draws == draws.min(axis=1, keepdims=True)
    return SeedRanking(
        order=order,
        rank_low=low,
        rank_high=high,
        level_low=np.clip(level_low, 0, levels),
        level_high=np.minimum(level_high, 1),
        ties_with_best=lead <= 0,
        share_best=(lowest / lowest.sum(axis=1, keepdims=True)).mean(axis=0),
    )


def passes_guard(accuracy: Float[np.ndarray, " m"], guard: Real) -> Bool[np.ndarray, " m"]:
    """Mark the runs within ``guard`` of the median accuracy, or better."""
    return accuracy >= np.median(accuracy) - guard


def select_seed(
    levels: Float[np.ndarray, " m"],
    accuracy: Float[np.ndarray, " m"],
    *,
    rng: np.random.Generator,
    guard: Real = 0.0,
) -> int:
    """Pick the run with the lowest level among those within ``guard`` of the median accuracy or better.

    Equal levels are decided at random: deciding them by accuracy would let the accuracy take credit for the level.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.variability import select_seed
    >>> levels, accuracy = np.array([0.1, 0.0, 0.3]), np.array([0.90, 0.50, 0.91])
    >>> select_seed(levels, accuracy, rng=np.random.default_rng(0))  # run 1 is lowest but not accurate enough
    0
    """
    allowed = np.flatnonzero(passes_guard(accuracy, guard))
    return int(rng.choice(allowed[levels[allowed] == levels[allowed].min()]))


def pairwise_ks(gaps: Rows) -> Float[np.ndarray, "m m"]:
    """Two-sample KS distance of every pair of runs; symmetric.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.variability import pairwise_ks
    >>> pairwise_ks(np.array([[0.0, 1.0, 2.0, 3.0], [0.0, 1.0, 2.0, 9.0], [5.0, 6.0, 7.0, 8.0]]))
    array([[0.  , 0.25, 1.  ],
           [0.25, 0.  , 0.75],
           [1.  , 0.75, 0.  ]])
    """
    runs = SortedRuns(sort_values(as_float_tensor(gaps, "gaps")))
    size = float(runs.values.shape[1])
    rows = [robust_distance(build_cells(runs, StepReference(row[None], size)), 1.0) for row in runs.values]
    return torch.stack(rows, dim=1).cpu().numpy()


def medoid(distances: Float[np.ndarray, "m m"]) -> int:
    """Run with the smallest total distance to all others: the most central one that exists.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.variability import medoid, pairwise_ks
    >>> gaps = np.array([[0.0, 1.0, 2.0, 3.0], [1.0, 2.0, 3.0, 4.0], [3.0, 4.0, 5.0, 6.0]])
    >>> medoid(pairwise_ks(gaps))
    1
    """
    return int(distances.sum(axis=1).argmin())
