"""Levels of consensuses of M runs, with the runs of both sides resampled, and what they say about claim B1.

All distributions are taken on a shared grid of pooled quantiles, so that a draw is a product of multiplicities with
one matrix; distances are then low by at most one over the number of grid points.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from analysis.resampling import check_draws
from analysis.trimming.distributions import (
    Real,
    Rows,
    SortedRuns,
    StepReference,
    as_float_tensor,
    sort_values,
)
from analysis.trimming.level import check_delta
from analysis.trimming.references import check_kinds, check_runs
from analysis.trimming.solver import Tolerance, solve_levels
from analysis.variability.claims import ClaimFinding
from analysis.verdicts import FAILS, HOLDS, OPEN, Decided, above_by_interval, below_by_interval
from analysis.verdicts.rules import Outcome

LARGEST_SHARE = 3
"""The largest consensus has at most a third of the pool: of larger ones, all subsets are nearly the same."""
NEAR, MARGIN = 0.05, 0.005
"""Mean level below which a consensus counts as close to the expected distribution, and the margin around it."""
MOST_SUBSETS = 32
"""Subsets of a draw at most; the spread of their mean that comes from their number is taken out again."""
NEED = 100
"""Runs on either side that the published claim asks for."""


@dataclass(frozen=True)
class ConsensusSizes:
    """Mean level of the consensus of M runs against the mixture of disjoint runs, by M.

    Attributes
    ----------
    sizes : ndarray of int, shape (s,)
        Numbers of runs M.
    level : ndarray, shape (s,)
        Mean over random subsets of the pool.
    draws : ndarray, shape (s, b)
        The same in each draw of the runs of both sides.
    pool, reference : int
        Runs on either side.
    """

    sizes: np.ndarray
    level: Float[np.ndarray, " s"]
    draws: Float[np.ndarray, "s b"]
    pool: int
    reference: int

    def interval(self, place: int) -> tuple[float, float, float]:
        """Estimate and 95 % interval of the mean level at one size.

        Levels are biased up and their draws more so. The lower end is therefore the basic one, the upper end the
        larger one of the basic and the percentile interval; both stay within [0, 1]. Where all draws are 0, a level
        above 0 is at most as probable as 3 in the number of draws, and its mean is no larger.
        """
        estimate = float(self.level[place])
        if estimate == 0 and not self.draws[place].any():
            return 0.0, 0.0, min(3 / self.draws.shape[1], 1.0)
        low, high = (float(end) for end in np.quantile(self.draws[place], [0.025, 0.975]))
        return estimate, min(max(2 * estimate - high, 0.0), estimate), min(max(2 * estimate - low, high, estimate), 1.0)

    def share_of_draws(self, place: int, bound: Real, *, above: bool) -> float:
        """P-value of being below (above) a bound: the share of draws on the other side, never 0."""
        values = self.draws[place]
        if above:
            values = 2 * self.level[place] - values  # the basic interval's tail
        else:
            values = np.maximum(values, 2 * self.level[place] - values)
        wrong = (values <= bound) if above else (values >= bound)
        return float((1 + wrong.sum()) / (1 + values.size))


def default_sizes(pool: int) -> list[int]:
    """Numbers of runs that are tried: powers of two up to a third of the pool, and the third itself.

    Examples
    --------
    >>> from analysis.variability import default_sizes
    >>> default_sizes(100)
    [1, 2, 4, 8, 16, 32, 33]
    """
    largest = max(1, pool // LARGEST_SHARE)
    return sorted({*(2**k for k in range(int(np.log2(largest)) + 1)), largest})


def _shares(rows: Tensor, grid: Tensor) -> Float[Tensor, "m g"]:
    """Distribution of each sorted row at the points of the grid."""
    counts = torch.searchsorted(rows, grid.expand(len(rows), -1).contiguous(), right=True)
    return counts.to(torch.float64) / rows.shape[1]


def _levels_on_grid(
    candidates: Float[Tensor, "r g"], references: Float[Tensor, "r g"], delta: Real, examples: int
) -> Float[np.ndarray, " r"]:
    """Level of each distribution against the reference of its row; both are given at the same points."""
    count, points = candidates.shape
    pad = torch.nn.functional.pad
    place = torch.arange(points, dtype=torch.int32).expand(count, -1)
    atoms = torch.arange(points, dtype=torch.float64).expand(count, -1)
    runs = SortedRuns(atoms, prefix=pad(candidates, (1, 0)))
    reference = StepReference(atoms, float(examples), pad(references, (1, 0)))
    return solve_levels(runs, reference, [Tolerance(delta)], positions=(place + 1, place), memory=2**28)[0].level


def _mean_of_subsets(levels: Float[np.ndarray, "e b"], pool: int) -> Float[np.ndarray, " b"]:
    """Mean over the subsets of each draw, without the spread that comes from taking only so many subsets."""
    means, inside = levels.mean(axis=0), float(levels.var(axis=0, ddof=1).mean())
    total = float(means.var(ddof=1))
    if total == 0:
        return means
    wanted = max(total - inside / len(levels), inside / pool)
    return means.mean() + (means - means.mean()) * min(1.0, wanted / total) ** 0.5


def resampled_levels(
    gaps: Rows,
    reference_gaps: Rows,
    *,
    sizes: Sequence[int],
    delta: Real,
    rng: np.random.Generator,
    kind: str = "mixture",
    draws: int = 200,
    subsets: int = 4,
    points: int = 1024,
) -> ConsensusSizes:
    """Mean level of the consensus of M runs against the mixture of disjoint runs, resampling the runs of both sides.

    Parameters
    ----------
    gaps : array, shape (m, n)
        Pool from which consensuses are drawn.
    reference_gaps : array, shape (k, n)
        Disjoint runs whose mixture stands for the expected distribution.
    sizes : sequence of int
        Numbers of runs M, each at most a third of the pool.
    delta : float
        Tolerance of the levels.
    rng : numpy.random.Generator
        Source of the draws and subsets.
    kind : str
        Consensus of each subset; the expected distribution is the mixture for all.
    draws : int
        Bootstrap draws over the runs of both sides.
    subsets : int
        Random subsets of each size in a draw, at least 2; of small sizes more are taken.
    points : int
        Points of the grid.

    Raises
    ------
    ValueError
        If a size exceeds a third of the pool, or a side has fewer than 2 runs.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.variability import resampled_levels
    >>> rng = np.random.default_rng(0)
    >>> gaps = rng.normal(size=200) + rng.normal(0, 0.4, size=(60, 1))
    >>> found = resampled_levels(gaps[:30], gaps[30:], sizes=[1, 10], delta=0.05, rng=rng, draws=50)
    >>> found.level.round(2)
    array([0.57, 0.03])
    """
    check_delta(delta)
    check_kinds([kind])
    check_draws(draws, 0.95)
    pool, others = as_float_tensor(gaps, "gaps"), as_float_tensor(reference_gaps, "reference_gaps")
    check_runs(len(pool), "candidate")
    check_runs(len(others), "reference")
    if min(sizes) < 1 or max(sizes) > max(1, len(pool) // LARGEST_SHARE):
        raise ValueError(
            f"sizes {list(sizes)} must be in 1..{len(pool) // LARGEST_SHARE}, a third of the {len(pool)} runs: larger "
            "subsets share most of their runs"
        )
    pool, others = pool.to(torch.float64), others.to(torch.float64)
    pooled = sort_values(torch.cat([pool.reshape(-1), others.reshape(-1)]))
    grid = torch.unique(pooled[torch.linspace(0, len(pooled) - 1, points).round().long()])
    expected = _shares(sort_values(others), grid)
    source = pool if kind == "logit_mean" else sort_values(pool)
    if kind == "mixture":
        source = _shares(source, grid)

    def subset_levels(
        taken: np.ndarray, weights: Float[Tensor, "b k"], size: int, each: int
    ) -> Float[np.ndarray, "e b"]:
        """Levels of `each` subsets of every row of drawn runs, against that row's weighted reference."""
        blocks: list[np.ndarray] = []
        while len(blocks) < each:  # a shuffled row splits into disjoint subsets, so that all its runs count alike
            shuffled = rng.permuted(taken, axis=1)
            blocks += [shuffled[:, first : first + size] for first in range(0, len(pool) - size + 1, size)]
        chosen = np.concatenate(blocks[:each])
        counts = np.zeros((len(chosen), len(pool)))
        np.add.at(counts, (np.arange(len(chosen))[:, None], chosen), 1.0)
        rows = torch.from_numpy(counts) @ source / size
        if kind != "mixture":
            rows = _shares(sort_values(rows), grid)
        reference = (weights @ expected / weights.sum(dim=1, keepdim=True)).repeat(each, 1)
        levels = _levels_on_grid(rows.clamp(max=1.0), reference.clamp(max=1.0), delta, pool.shape[1])
        return levels.reshape(each, len(taken))

    everything, equal = np.arange(len(pool))[None], torch.ones(1, len(others), dtype=torch.float64)
    level, drawn = np.empty(len(sizes)), np.empty((len(sizes), draws))
    for place, size in enumerate(sizes):
        level[place] = subset_levels(everything, equal, size, max(len(pool) // size, 6 * subsets)).mean()
        taken = rng.integers(0, len(pool), size=(draws, len(pool)))
        weights = rng.multinomial(len(others), np.full(len(others), 1 / len(others)), size=draws).astype(np.float64)
        each = max(subsets, min(MOST_SUBSETS, len(pool) // size))
        drawn[place] = _mean_of_subsets(subset_levels(taken, torch.from_numpy(weights), size, each), len(pool))
    return ConsensusSizes(np.array(sizes), level, drawn, len(pool), len(others))


def claim_b1(found: ConsensusSizes, *, need: int = NEED) -> ClaimFinding:
    """B1: the ensemble's distribution approaches the expected one, and the curve names the number of runs.

    It holds where the mean level of the largest consensus (at most a third of the pool) is below 0.05 and that of
    single runs is not: where M = 1 already passes there is nothing to approach, and the claim stays open. It fails
    where the largest consensus stays above 0.05. The runs of both sides are resampled; the test examples are fixed.

    Parameters
    ----------
    found : ConsensusSizes
        Levels by size, from 1 up.
    need : int
        Runs on either side that a decision needs.
    """
    runs, last = min(found.pool, found.reference), len(found.sizes) - 1
    unit = "runs on either side (the test examples are fixed)"
    largest = below_by_interval(
        found.interval(last),
        NEAR,
        margin=MARGIN,
        n=runs,
        what=f"mean level of a consensus of {found.sizes[last]} runs",
        unit=unit,
        p=found.share_of_draws(last, NEAR - MARGIN, above=False),
        p_against=found.share_of_draws(last, NEAR + MARGIN, above=True),
        needed=need,
    )
    single = above_by_interval(
        found.interval(0),
        NEAR,
        margin=MARGIN,
        n=runs,
        what="mean level of single runs",
        unit=unit,
        p=found.share_of_draws(0, NEAR + MARGIN, above=True),
        needed=need,
    )
    passing = [int(size) for place, size in enumerate(found.sizes) if found.interval(place)[2] < NEAR - MARGIN]
    outcome: Outcome = FAILS if largest.outcome == FAILS else OPEN
    note = ""
    if found.sizes[0] != 1 or last == 0:
        note = " The pool is too small for a consensus of several runs beside single ones."
    elif largest.outcome == HOLDS and single.outcome == HOLDS:
        outcome = HOLDS
    elif largest.outcome != FAILS and passing[:1] == [1]:
        note = " A single run passes the same test: there is nothing to approach."
    # both parts have to hold, so that the larger p-value is the claim's own
    p = max(largest.p or 0.0, single.p or 0.0) if largest.p is not None and single.p is not None else None
    decided = Decided(outcome, f"{largest.evidence} {single.evidence}{note}", p, largest.p_against)
    details = {f"level_at_{size}": float(level) for size, level in zip(found.sizes, found.level, strict=True)}
    details["named_m"] = float(passing[0]) if passing else np.nan
    return ClaimFinding("B1", decided, details)
