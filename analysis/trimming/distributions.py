"""Sorted runs and the distributions that they are compared with, ready for the trimming solver.

A candidate is one run's sample of N values. A reference is a cumulative distribution G. The solver needs, for
each cell [x_i, x_{i+1}) between neighboring candidate values, the candidate's mass F_i on its left and the
range [G(x_i), G(x_{i+1}-)] that G takes inside it (cell 0 starts at minus infinity, the last one never ends).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Num
from torch import Tensor

Real = float | int
Sample = Num[np.ndarray, " _"] | Num[Tensor, " _"]
Rows = Num[np.ndarray, "_ _"] | Num[Tensor, "_ _"]


def as_float_tensor(values: np.ndarray | Tensor, name: str, device: str | torch.device | None = None) -> Tensor:
    """Turn an array into a finite floating tensor; float32 stays float32 because order is all that matters.

    Raises
    ------
    ValueError
        For an empty array, or for NaN or infinite values: with how many, in which rows, and the first index.
    """
    if isinstance(values, Tensor):
        tensor = values.detach()
    else:
        tensor = torch.from_numpy(np.require(values, requirements=["C", "W"]))
    if not tensor.is_floating_point():
        tensor = tensor.to(torch.float64)
    elif tensor.dtype in (torch.float16, torch.bfloat16):
        tensor = tensor.to(torch.float32)
    tensor = tensor.to(device) if device is not None else tensor
    if tensor.numel() == 0:
        raise ValueError(f"{name} is empty (shape {tuple(tensor.shape)}): give at least one value per run")
    finite = torch.isfinite(tensor)
    if not bool(finite.all()):
        bad = (~finite).nonzero()
        rows = sorted(set(bad[:, 0].tolist())) if tensor.ndim > 1 else [0]
        raise ValueError(
            f"{name} holds {len(bad)} NaN or infinite values in run(s) {rows[:10]}, the first at index "
            f"{tuple(bad[0].tolist())}: drop those runs (analysis.variability.usable_runs, on_bad_run='drop')"
        )
    return tensor


def sort_values(values: Tensor) -> Tensor:
    """Sort along the last axis without an index array; on the CPU through NumPy's vectorized sort."""
    if values.device.type == "cpu":
        return torch.from_numpy(np.sort(values.numpy(), axis=-1))
    return torch.sort(values, dim=-1).values


def _prefix_mass(weights: Float[Tensor, "r n"]) -> Float[Tensor, "r n+1"]:
    return torch.nn.functional.pad(torch.cumsum(weights, dim=1), (1, 0))


@dataclass(frozen=True)
class SortedRuns:
    """The candidates: every run's values in ascending order.

    Attributes
    ----------
    values : Tensor, shape (m, n)
        Sorted values.
    order : Tensor, shape (m, n), or None
        Example index of each sorted value; kept only where examples are to be reweighted.
    prefix : Tensor, shape (m, n + 1), or None
        Weight of the first i values of a row (not normalized); None stands for weight 1 each.
    """

    values: Float[Tensor, "m n"]
    order: Int[Tensor, "m n"] | None = None
    prefix: Float[Tensor, "m n+1"] | None = None

    @classmethod
    def of(cls, gaps: Float[Tensor, "m n"], *, keep_order: bool = False) -> SortedRuns:
        """Sort each run once for all references, tolerances and bootstrap draws."""
        if not keep_order:
            return cls(sort_values(gaps))
        values, order = torch.sort(gaps, dim=1)
        return cls(values, order)

    def reweighted(self, weights: Num[Tensor, " n"]) -> SortedRuns:
        """Give example j the weight ``weights[j]`` in every run (a bootstrap draw is such a vector)."""
        if self.order is None:
            raise ValueError("reweighting needs the order of the examples: sort with keep_order=True")
        return replace(self, prefix=_prefix_mass(weights.to(torch.float64)[self.order]))

    def take(self, rows: slice) -> SortedRuns:
        """Keep some of the runs."""
        order = None if self.order is None else self.order[rows]
        prefix = None if self.prefix is None else self.prefix[rows]
        return SortedRuns(self.values[rows], order, prefix)

    def prefix_mass(self) -> Float[Tensor, "_ _"]:
        """Weight of the first i values (one shared row where all weights are 1)."""
        if self.prefix is not None:
            return self.prefix
        count = self.values.shape[1] + 1
        return torch.arange(count, dtype=torch.float64, device=self.values.device)[None]


@dataclass(frozen=True)
class StepReference:
    """A weighted empirical distribution, one for all candidates or one for each.

    Attributes
    ----------
    atoms : Tensor, shape (r, k)
        Sorted support, r = 1 (shared) or one row for each candidate.
    size : float
        Sample size m that enters thresholds: the number of examples, also where many runs are pooled over
        them.
    prefix : Tensor, shape (r, k + 1), or None
        Weight of the first j atoms (not normalized); None stands for weight 1 each.
    leave_out : bool
        The candidate's own values are among the atoms and are taken out of the counts (leave-one-out
        mixture).
    """

    atoms: Float[Tensor, "r k"]
    size: Real
    prefix: Float[Tensor, "r k+1"] | None = None
    leave_out: bool = False

    def take(self, rows: slice) -> StepReference:
        """Keep the references of some candidates (a shared one stays)."""
        if self.atoms.shape[0] == 1:
            return self
        return replace(self, atoms=self.atoms[rows], prefix=None if self.prefix is None else self.prefix[rows])

    def positions(self, values: Float[Tensor, "m n"]) -> tuple[Int[Tensor, "m n"], Int[Tensor, "m n"]]:
        """How many atoms are <= each value, and how many are < it."""
        dtype = torch.promote_types(self.atoms.dtype, values.dtype)
        atoms, queries = self.atoms.to(dtype), values.to(dtype).contiguous()
        if atoms.shape[0] == 1:
            atoms = atoms[0]
        small = atoms.shape[-1] < 2**31
        return (
            torch.searchsorted(atoms, queries, right=True, out_int32=small),
            torch.searchsorted(atoms, queries, out_int32=small),
        )

    def mass_at(self, positions: Int[Tensor, "m n"]) -> Float[Tensor, "m n"]:
        """Weight of the atoms before a position; exact float64 counts (float32 fails past 2^24)."""
        if self.prefix is None:
            return positions.to(torch.float64)
        if self.prefix.shape[0] == 1:
            return self.prefix[0][positions.long()]
        return torch.gather(self.prefix, 1, positions.long())

    def total(self) -> Float[Tensor, "r 1"]:
        """Weight of all atoms."""
        if self.prefix is None:
            return torch.full((1, 1), float(self.atoms.shape[1]), dtype=torch.float64, device=self.atoms.device)
        return self.prefix[:, -1:]


@dataclass(frozen=True)
class ContinuousReference:
    """A known continuous distribution (one-sample comparison), or a step function that was interpolated.

    Attributes
    ----------
    cdf : callable
        Maps a float64 tensor of values to probabilities of the same shape.
    size : float
        Sample size behind the distribution, infinite where it is known exactly.
    """

    cdf: Callable[[Tensor], Tensor]
    size: Real = math.inf

    def take(self, rows: slice) -> ContinuousReference:
        """One distribution serves every candidate."""
        return self


Reference = StepReference | ContinuousReference
Positions = tuple[Int[Tensor, "m n"], Int[Tensor, "m n"]]


@dataclass(frozen=True)
class Cells:
    """What the closed form needs, one row for each candidate and one column for each cell.

    Empty cells (between tied values) hold lo = +inf and hi = -inf, so that they never decide.

    Attributes
    ----------
    mass : Tensor, shape (1 or m, n + 1)
        Candidate's cumulative distribution F_i, from 0 to 1.
    lo, hi : Tensor, shape (m, n + 1)
        Smallest and largest value of the reference inside each cell.
    floor : Tensor, shape (m,)
        Distance that no amount of trimming removes.
    """

    mass: Float[Tensor, "r k"]
    lo: Float[Tensor, "m k"]
    hi: Float[Tensor, "m k"]
    floor: Float[Tensor, " m"]

    def take(self, rows: Bool[Tensor, " m"]) -> Cells:
        """Keep some of the candidates."""
        mass = self.mass if self.mass.shape[0] == 1 else self.mass[rows]
        return Cells(mass, self.lo[rows], self.hi[rows], self.floor[rows])


def build_cells(runs: SortedRuns, reference: Reference, positions: Positions | None = None) -> Cells:
    """Lay a reference over the cells of sorted candidates.

    Parameters
    ----------
    runs : SortedRuns
        m candidates with n values each.
    reference : StepReference or ContinuousReference
        What they are compared with.
    positions : tuple of Tensor, optional
        ``reference.positions(runs.values)`` where it was computed before: reweighted draws share it.
    """
    values, prefix = runs.values, runs.prefix_mass()
    ends = torch.zeros(len(values), 1, dtype=torch.float64, device=values.device)
    if isinstance(reference, StepReference):
        right, left = reference.positions(values) if positions is None else positions
        total = reference.total()
        at, below = reference.mass_at(right), reference.mass_at(left)
        if reference.leave_out:
            # Up to tied values, whose cells are emptied below, a candidate's own weight at the start and just
            # before the end of cell i is in both cases the weight of its first i values.
            at, below, total = at - prefix[:, 1:], below - prefix[:, :-1], total - prefix[:, -1:]
        lo = torch.cat([ends, at.div_(total)], dim=1)
        hi = torch.cat([below.div_(total), ends + 1], dim=1)
    else:
        known = reference.cdf(values.to(torch.float64))
        lo, hi = torch.cat([ends, known], dim=1), torch.cat([known, ends + 1], dim=1)
    mass = prefix / prefix[:, -1:]
    tied = torch.nn.functional.pad(values[:, 1:] == values[:, :-1], (1, 1))
    hi.masked_fill_(tied, -math.inf)
    # Values of weight zero split no cell: the floor takes the lower end at the first cell of equal mass.
    start = lo if runs.prefix is None else torch.gather(lo, 1, torch.searchsorted(mass, mass))
    inside = (hi - start).amax(dim=1) / 2
    lo.masked_fill_(tied, math.inf)
    untrimmed = torch.where(mass == 0, hi, -math.inf).amax(dim=1)
    all_trimmed = torch.where(mass == 1, 1 - lo, -math.inf).amax(dim=1)
    return Cells(mass, lo, hi, torch.maximum(inside, torch.maximum(untrimmed, all_trimmed)))
