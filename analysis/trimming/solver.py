"""Newton's method on the closed form of the robust Kolmogorov-Smirnov distance, for many candidates at once.

See `analysis.trimming.level` for the closed form. D is convex and piecewise linear in s = 1/(1 - alpha), so that
the root of the highest violated line never overshoots, and the last step lands on the exact level.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from analysis.trimming.distributions import Cells, Positions, Real, Reference, SortedRuns, build_cells

TINY = 1e-12
"""Slack of the comparisons D <= delta: far above float64 rounding, far below 1/n of any sample."""
WORK_ARRAYS = 14
"""Float64 arrays of a chunk's size that are alive at the solver's peak (measured)."""


@dataclass(frozen=True)
class Tolerance:
    """Accept a trimming where D <= constant + slope * s with s = 1/(1 - alpha)."""

    constant: Real
    slope: Real = 0.0


@dataclass(frozen=True)
class TrimmingResult:
    """Levels of m runs at one tolerance.

    Attributes
    ----------
    tolerance : Tolerance
        What D was compared with.
    level : ndarray, shape (m,)
        Smallest sufficient trimming share in [0, 1]; 1 where none suffices.
    attainable : ndarray of bool, shape (m,)
        False where even full trimming leaves the distance above the tolerance.
    ks : ndarray, shape (m,)
        Two-sample Kolmogorov-Smirnov distance, D(0).
    floor : ndarray, shape (m,)
        Limit of D(alpha) as alpha goes to 1.
    """

    tolerance: Tolerance
    level: Float[np.ndarray, " m"]
    attainable: Bool[np.ndarray, " m"]
    ks: Float[np.ndarray, " m"]
    floor: Float[np.ndarray, " m"]


def _worst_lines(cells: Cells, s: Float[Tensor, " m"]) -> tuple[Float[Tensor, "3 m"], Float[Tensor, "3 m"]]:
    """Find intercepts and (non-negative) negated slopes of the highest line of each family."""
    scaled = cells.mass * s[:, None]
    running, running_at = torch.cummin(cells.lo - scaled, dim=1)
    upper = cells.hi - scaled
    above = upper.argmax(dim=1, keepdim=True)
    under = running_at[:, -1:]
    end = upper.sub_(running).argmax(dim=1, keepdim=True)
    start = running_at.gather(1, end)
    mass = cells.mass.expand(len(s), -1)
    tops = [
        cells.hi.gather(1, above),
        1 - cells.lo.gather(1, under),
        (cells.hi.gather(1, end) - cells.lo.gather(1, start)) / 2,
    ]
    slopes = [
        mass.gather(1, above),
        1 - mass.gather(1, under),
        (mass.gather(1, end) - mass.gather(1, start)) / 2,
    ]
    return torch.cat(tops, dim=1).T, torch.cat(slopes, dim=1).T


def robust_distance(cells: Cells, s: Real) -> Float[Tensor, " m"]:
    """Evaluate D at density bound s >= 1, for each candidate."""
    at = torch.full((len(cells.lo),), s, dtype=torch.float64, device=cells.lo.device)
    tops, slopes = _worst_lines(cells, at)
    return (tops - slopes * at).amax(dim=0)


def _newton(cells: Cells, tolerance: Tolerance) -> tuple[Float[Tensor, " m"], Bool[Tensor, " m"]]:
    """Find the smallest s >= 1 with D(s) <= constant + slope * s for each row, if there is one."""
    s = torch.ones(len(cells.lo), dtype=torch.float64, device=cells.lo.device)
    attainable = torch.ones(len(s), dtype=torch.bool, device=s.device)
    active = torch.arange(len(s), device=s.device)
    while len(active):
        at = s[active]
        tops, slopes = _worst_lines(cells, at)
        violated = tops - slopes * at > tolerance.constant + tolerance.slope * at + TINY
        steepness = slopes + tolerance.slope
        stuck = (violated & (steepness <= TINY)).any(dim=0)
        roots = torch.where(violated, (tops - tolerance.constant) / steepness, 1.0).amax(dim=0)
        moving = violated.any(dim=0) & ~stuck & (roots > at)
        attainable[active[stuck]] = False
        s[active[moving]] = roots[moving]
        if not bool(moving.all()):
            cells, active = cells.take(moving), active[moving]
    return s, attainable


def solve_levels(
    runs: SortedRuns,
    reference: Reference,
    tolerances: Sequence[Tolerance],
    *,
    positions: Positions | None = None,
    memory: int = 2**31,
) -> list[TrimmingResult]:
    """Levels of sorted runs at several tolerances, from one pass over the data.

    Parameters
    ----------
    runs : SortedRuns
        m candidates.
    reference : Reference
        Shared by all candidates, or one row for each.
    tolerances : sequence of Tolerance
        Each gives one result.
    positions : tuple of Tensor, optional
        Positions of the candidates among the reference's atoms, where they are known.
    memory : int
        Budget in bytes for work arrays; runs are taken in chunks of that size. Results do not depend on it.
    """
    count, examples = runs.values.shape
    step = max(1, int(memory // (WORK_ARRAYS * 8 * (examples + 1))))
    parts: list[list[tuple[Tensor, ...]]] = [[] for _ in tolerances]
    for first in range(0, count, step):
        rows = slice(first, first + step)
        near = None if positions is None else (positions[0][rows], positions[1][rows])
        cells = build_cells(runs.take(rows), reference.take(rows), near)
        ks = robust_distance(cells, 1.0)
        for part, tolerance in zip(parts, tolerances, strict=True):
            s, attainable = _newton(cells, tolerance)
            part.append((torch.where(attainable, 1 - 1 / s, 1.0), attainable, ks, cells.floor))
    return [
        TrimmingResult(tolerance, *(torch.cat(column).cpu().numpy() for column in zip(*part, strict=True)))
        for part, tolerance in zip(parts, tolerances, strict=True)
    ]
