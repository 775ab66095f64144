"""The published protocol of the trimming level, one switch per deviation, next to the corrected default.

The authors' public code (Sinjini77/RobustKSTest, for arXiv 2310.00541 and 2406.08307) differs from the definitions in
ways that move its numbers: values outside a range become 0, rows are sorted before anything else (so that its mean of
rows is a mean of quantiles), levels are rounded up to a coarse grid that ends at 0.45, and the mean over 100
resampled halves is reported. Each deviation is one switch here, so that its effect can be measured alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from analysis.trimming.distributions import (
    ContinuousReference,
    Real,
    SortedRuns,
    StepReference,
    as_float_tensor,
    build_cells,
    sort_values,
)
from analysis.trimming.level import check_delta
from analysis.trimming.references import check_runs, consensus_reference
from analysis.trimming.solver import TINY, Tolerance, robust_distance, solve_levels
from analysis.trimming.thresholds import dkw_threshold

GRID = (0.0, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45)
"""Trimming shares that the released code tries in turn."""
SENTINEL = 0.50
"""Released value of a level that the grid does not reach; it means 0.50 or more."""


@dataclass(frozen=True)
class TrimmingProtocol:
    """Switches between the corrected defaults and the released code.

    Attributes
    ----------
    reference : str
        ``quantile_mean`` is what the 2024 script computes; its 2025 successor intends ``mixture``.
    clip : {"none", "clamp", "zero_common", "zero_15"}
        ``clamp`` moves values beyond +-15 to +-15. The released scripts set values at or beyond the range that all
        runs share (2024), or beyond +-15 (2025), to 0: an atom at the decision boundary.
    presort : bool
        Sort each run first, so that indices mean ranks and no longer examples.
    boots : int
        Resampled halves whose levels are averaged; 0 uses all examples once.
    cdf : {"step", "linear"}
        Interpolate the reference linearly and add 1/n to delta.
    solver : {"newton", "grid"}
        Exact level, or the first accepted grid value (rounds up).
    redraw : bool
        Replace each run by inverse-transform draws from its own distribution without its first value (2025).
    eps : float
        False-alarm rate of delta.
    """

    reference: str = "mixture"
    clip: Literal["none", "clamp", "zero_common", "zero_15"] = "none"
    presort: bool = False
    boots: int = 0
    cdf: Literal["step", "linear"] = "step"
    solver: Literal["newton", "grid"] = "newton"
    redraw: bool = False
    eps: Real = 0.01


CORRECTED = TrimmingProtocol()
PUBLISHED_2024 = TrimmingProtocol("quantile_mean", "zero_common", True, 100, "linear", "grid")
PUBLISHED_2025 = TrimmingProtocol("mixture", "zero_15", True, 100, "linear", "grid", redraw=True)


@dataclass(frozen=True)
class ProtocolLevels:
    """Levels under a protocol.

    Attributes
    ----------
    level : ndarray, shape (m,)
        Level of each candidate; means over resampled halves where the protocol has them.
    delta : float
        Tolerance that was used, with 1/n for interpolated references.
    at_sentinel : ndarray, shape (m,)
        Share of halves whose level is only known to be 0.50 or more.
    clipped : float
        Share of all values that clipping moved.
    """

    level: Float[np.ndarray, " m"]
    delta: float
    at_sentinel: Float[np.ndarray, " m"]
    clipped: float


def clip_gaps(
    gaps: Float[np.ndarray, "m n"], mode: str, *, bound: Real = 15.0
) -> tuple[Float[np.ndarray, "m n"], float]:
    """Clip gaps as a protocol says.

    Returns
    -------
    clipped : ndarray, shape (m, n)
    share : float
        Share of values that moved.
    """
    if mode == "none":
        return gaps, 0.0
    if mode == "clamp":
        clipped = np.clip(gaps, -bound, bound)
    elif mode == "zero_15":
        clipped = np.where(np.abs(gaps) >= bound, 0.0, gaps)
    elif mode == "zero_common":
        low, high = gaps.min(axis=1).max(), gaps.max(axis=1).min()
        clipped = np.where((gaps <= low) | (gaps >= high), 0.0, gaps)
    else:
        raise ValueError(f"unknown clip {mode!r}: choose none, clamp, zero_common or zero_15")
    return clipped, float((clipped != gaps).mean())


def interpolated(reference: StepReference) -> ContinuousReference:
    """Join the steps of a shared reference by straight lines (moves D by at most its largest step)."""
    values, last = torch.unique_consecutive(reference.atoms[0].to(torch.float64), return_counts=True)
    reached = reference.mass_at(torch.cumsum(last, 0)[None])[0] / reference.total()[0]
    first = torch.cat([torch.zeros(1, dtype=torch.float64, device=values.device), reached])

    def cdf(t: Tensor) -> Tensor:
        position = torch.searchsorted(values, t.contiguous(), right=True)
        left = (position - 1).clamp(0, len(values) - 1)
        right = position.clamp(max=len(values) - 1)
        width = values[right] - values[left]
        share = torch.where(width > 0, (t - values[left]) / torch.where(width > 0, width, 1), 0.0)
        return torch.where(position == 0, 0.0, first[left + 1] + share * (first[right + 1] - first[left + 1]))

    return ContinuousReference(cdf, reference.size)


def grid_levels(
    runs: SortedRuns, reference: StepReference | ContinuousReference, *, delta: Real, grid: Sequence[Real] = GRID
) -> Float[np.ndarray, " m"]:
    """First grid value within delta for each run; `SENTINEL` where none is.

    Raises
    ------
    ValueError
        Unless the grid ascends within [0, 1).
    """
    check_delta(delta)
    if not len(grid) or grid[0] < 0 or grid[-1] >= 1 or any(a >= b for a, b in zip(grid, grid[1:], strict=False)):
        raise ValueError("a grid of trimming shares must ascend within [0, 1)")
    cells = build_cells(runs, reference)
    level = np.full(len(runs.values), SENTINEL)
    for alpha in reversed(grid):
        within = robust_distance(cells, 1 / (1 - alpha)) <= delta + TINY
        level[within.cpu().numpy()] = alpha
    return level


def _redrawn(row: Float[np.ndarray, " n"], rng: np.random.Generator) -> Float[np.ndarray, " n"]:
    """Draw n values from a run's distribution, drop the first distinct one, and redraw from the rest."""
    drawn = np.sort(rng.choice(row, size=len(row)))
    rest = drawn[drawn > drawn[0]]
    return rng.choice(rest, size=len(row)) if len(rest) else drawn


def protocol_levels(
    gaps: Float[np.ndarray, "m n"],
    reference_gaps: Float[np.ndarray, "k n"],
    *,
    protocol: TrimmingProtocol = CORRECTED,
    rng: np.random.Generator,
) -> ProtocolLevels:
    """Levels of candidate runs against disjoint reference runs under a protocol.

    Parameters
    ----------
    gaps, reference_gaps : ndarray, shape (m, n) and (k, n)
        Candidates and reference runs on the same examples.
    protocol : TrimmingProtocol
        `CORRECTED`, `PUBLISHED_2024`, `PUBLISHED_2025`, or any mix.
    rng : numpy.random.Generator
        Source of resampled halves and redraws.
    """
    check_runs(len(gaps), "candidate")
    check_runs(len(reference_gaps), "reference")
    count = len(gaps)
    both, clipped = clip_gaps(np.concatenate([gaps, reference_gaps]), protocol.clip)
    if protocol.presort:
        both = np.sort(both, axis=1)
    if protocol.redraw:
        both = np.stack([_redrawn(row, rng) for row in both])
    examples = both.shape[1] // 2 if protocol.boots else both.shape[1]
    delta = dkw_threshold(examples, examples, eps=protocol.eps)
    delta += 1 / examples if protocol.cdf == "linear" else 0.0
    rounds = []
    for _ in range(max(1, protocol.boots)):
        left, right = both[:count], both[count:]
        if protocol.boots:
            taken = rng.integers(0, both.shape[1], size=2 * examples)
            left, right = left[:, taken[:examples]], right[:, taken[examples:]]
        runs = SortedRuns(sort_values(as_float_tensor(left, "gaps")))
        shared = consensus_reference(as_float_tensor(right, "reference_gaps"), protocol.reference)
        reference = interpolated(shared) if protocol.cdf == "linear" else shared
        if protocol.solver == "grid":
            rounds.append(grid_levels(runs, reference, delta=delta))
        else:
            rounds.append(solve_levels(runs, reference, [Tolerance(delta)])[0].level)
    levels = np.stack(rounds)
    at_sentinel = (levels == SENTINEL).mean(axis=0) if protocol.solver == "grid" else np.zeros(count)
    return ProtocolLevels(levels.mean(axis=0), delta, at_sentinel, clipped)
