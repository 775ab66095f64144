"""Three consensus references of many runs, and the levels of runs against them.

``logit_mean`` averages the gap over runs for each example, ``mixture`` pools all values (the average of the
runs' distributions, the only one that tends to the expected distribution by construction), ``quantile_mean``
averages the sorted runs. A run that belongs to its own reference is left out of it.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from analysis.trimming.distributions import (
    Real,
    Rows,
    SortedRuns,
    StepReference,
    as_float_tensor,
    build_cells,
    sort_values,
)
from analysis.trimming.level import check_delta
from analysis.trimming.solver import Tolerance, TrimmingResult, robust_distance, solve_levels
from kernels.arguments import checked_arguments

log = logging.getLogger(__name__)

REFERENCES = ("logit_mean", "mixture", "quantile_mean")


def consensus_reference(runs: Float[Tensor, "m n"], kind: str) -> StepReference:
    """Make one reference, shared by candidates that are not among ``runs``.

    Parameters
    ----------
    runs : Tensor, shape (m, n)
        Gaps of the reference runs, one row each; columns are examples.
    kind : {"logit_mean", "mixture", "quantile_mean"}
        See the module. The sample size of all three is n: the runs share their inputs.
    """
    size = float(runs.shape[1])
    if kind == "mixture":
        return StepReference(sort_values(runs.reshape(1, -1)), size)
    rows = sort_values(runs) if kind == "quantile_mean" else runs
    return StepReference(sort_values(_mean_row(rows)[None]), size)


def _mean_row(runs: Float[Tensor, "m n"]) -> Float[Tensor, " n"]:
    """Mean over runs in float64 without a float64 copy of all runs."""
    return torch.sum(runs, dim=0, dtype=torch.float64) / len(runs)


def check_kinds(kinds: Iterable[str]) -> None:
    """Refuse unknown references."""
    unknown = [kind for kind in kinds if kind not in REFERENCES]
    if unknown:
        raise ValueError(f"unknown reference(s) {unknown}: choose among {list(REFERENCES)}")


def check_runs(count: int, side: str) -> None:
    """Refuse consensus of fewer than two runs."""
    if count < 2:
        raise ValueError(f"{count} run(s) on the {side} side: at least 2 are needed to say anything about seeds")


def identical_runs(gaps: Float[Tensor, "m n"]) -> list[tuple[int, int]]:
    """Pairs of runs with exactly equal outputs: usually a seed that was not set."""
    seen: dict[bytes, int] = {}
    pairs = []
    for index, row in enumerate(gaps.cpu().numpy()):
        first = seen.setdefault(row.tobytes(), index)
        if first != index:
            pairs.append((first, index))
    return pairs


@dataclass(frozen=True)
class ConsensusLevels:
    """Levels of m runs against every reference at every tolerance.

    Attributes
    ----------
    results : dict
        (reference kind, delta) to `TrimmingResult`.
    left_out : bool
        Each run was compared with the others (leave-one-out), not with a disjoint set.
    noise_limited : dict
        Delta to whether it is below the DKW tolerance of these sample sizes, so that noise alone moves
        levels.
    """

    results: dict[tuple[str, float], TrimmingResult]
    left_out: bool
    noise_limited: dict[float, bool]

    def level(self, kind: str, delta: Real) -> Float[np.ndarray, " m"]:
        """Levels against one reference at one tolerance."""
        return self.results[kind, delta].level


@checked_arguments
def consensus_levels(
    gaps: Rows,
    reference_gaps: Rows | None = None,
    *,
    deltas: Sequence[Real],
    kinds: Sequence[str] = REFERENCES,
    noise_delta: Real | None = None,
    device: str | torch.device | None = None,
    memory: int = 2**31,
) -> ConsensusLevels:
    """Levels of runs against the consensus of other runs, for all references and tolerances.

    Parameters
    ----------
    gaps : array, shape (m, n)
        Candidates, one run per row.
    reference_gaps : array, shape (k, n), optional
        Disjoint reference runs on the same examples; default: each candidate against all others.
    deltas : sequence of float
        Tolerances, usually the DKW one and fixed ones.
    kinds : sequence of str
        References to compute; all three by default.
    noise_delta : float, optional
        DKW tolerance; smaller deltas are marked ``noise_limited``. Default: that of n = m at eps 0.01.
    device, memory
        As in `analysis.trimming.level.trimming_results`.

    Raises
    ------
    ValueError
        For fewer than 2 runs on a side, unknown kinds, other example counts where examples are averaged, NaN.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.trimming import consensus_levels
    >>> rng = np.random.default_rng(0)
    >>> gaps = rng.normal(size=300) + 0.2 * rng.normal(size=(5, 300))
    >>> gaps[4] += 1.5  # one run favors class 1
    >>> consensus_levels(gaps, deltas=[0.2]).level("mixture", 0.2).round(2)
    array([0.  , 0.  , 0.  , 0.  , 0.85])
    """
    check_kinds(kinds)
    for delta in deltas:
        check_delta(delta)
    candidates = as_float_tensor(gaps, "gaps", device)
    check_runs(len(candidates), "candidate")
    pairs = identical_runs(candidates)
    if pairs:
        warnings.warn(f"identical runs {pairs[:5]} ({len(pairs)} in all): was the seed set?", UserWarning, stacklevel=2)
    others, left_out = _reference_runs(candidates, reference_gaps)
    if candidates.shape[1] != others.shape[1]:
        if "logit_mean" in kinds:
            raise ValueError(
                f"logit_mean needs the same examples on both sides, got {candidates.shape[1]} and {others.shape[1]}"
            )
        log.info("candidates and reference runs were evaluated on different numbers of examples")
    noise = noise_delta if noise_delta is not None else float(np.sqrt(np.log(200.0) / candidates.shape[1]))
    tolerances = [Tolerance(delta) for delta in deltas]
    sorted_runs = SortedRuns.of(candidates)
    results: dict[tuple[str, float], TrimmingResult] = {}
    for kind in kinds:
        if left_out:
            parts = _left_out(candidates, sorted_runs, kind, tolerances, memory)
        else:
            parts = solve_levels(sorted_runs, consensus_reference(others, kind), tolerances, memory=memory)
        results.update({(kind, delta): part for delta, part in zip(deltas, parts, strict=True)})
    return ConsensusLevels(results, left_out, {delta: bool(delta < noise) for delta in deltas})


def _reference_runs(candidates: Tensor, reference_gaps: Rows | None) -> tuple[Tensor, bool]:
    if reference_gaps is None:
        return candidates, True
    others = as_float_tensor(reference_gaps, "reference_gaps", candidates.device)
    check_runs(len(others), "reference")
    if others.shape == candidates.shape and torch.equal(others, candidates):
        log.info("candidates are the reference runs: each is left out of its own reference")
        return candidates, True
    if others.shape[1] == candidates.shape[1]:
        known = {row.tobytes() for row in others.cpu().numpy()}
        shared = [i for i, row in enumerate(candidates.cpu().numpy()) if row.tobytes() in known]
        if shared:
            raise ValueError(
                f"candidates {shared[:10]} are also reference runs: pass all runs once (leave-one-out) or disjoint sets"
            )
    return others, False


def _left_out(
    gaps: Tensor, runs: SortedRuns, kind: str, tolerances: Sequence[Tolerance], memory: int
) -> list[TrimmingResult]:
    size = float(gaps.shape[1])
    if kind == "mixture":
        pooled = StepReference(sort_values(gaps.reshape(1, -1)), size, leave_out=True)
        return solve_levels(runs, pooled, tolerances, memory=memory)
    # One reference row for each candidate is as large as the candidates: make them by chunks too.
    values = runs.values if kind == "quantile_mean" else gaps
    total = torch.sum(values, dim=0, dtype=torch.float64)
    step = max(1, int(memory // (20 * 8 * values.shape[1])))
    parts = []
    for first in range(0, len(gaps), step):
        rows = slice(first, first + step)
        others = sort_values((total - values[rows].to(torch.float64)) / (len(gaps) - 1))
        reference = StepReference(others, size)
        parts.append(solve_levels(runs.take(rows), reference, tolerances, memory=memory))
    return [_joined(list(part)) for part in zip(*parts, strict=True)]


def _joined(parts: list[TrimmingResult]) -> TrimmingResult:
    return TrimmingResult(
        parts[0].tolerance,
        level=np.concatenate([part.level for part in parts]),
        attainable=np.concatenate([part.attainable for part in parts]),
        ks=np.concatenate([part.ks for part in parts]),
        floor=np.concatenate([part.floor for part in parts]),
    )


def disjoint_halves(count: int, rng: np.random.Generator) -> tuple[Int[np.ndarray, " a"], Int[np.ndarray, " b"]]:
    """Split runs at random into candidates and reference; of an odd number the reference gets one more."""
    check_runs(count // 2, "candidate")
    order = rng.permutation(count)
    if count % 2:
        log.info("odd number of runs (%d): the reference side has the extra one", count)
    return np.sort(order[: count // 2]), np.sort(order[count // 2 :])


def pairwise_levels(gaps: Rows, *, delta: Real, memory: int = 2**31) -> Float[np.ndarray, "m m"]:
    """Level of run i (row) when run j (column) is the reference; not symmetric, m^2 solves.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.trimming import pairwise_levels
    >>> gaps = np.stack([np.linspace(0, 1, 50), np.linspace(0, 1, 50), np.linspace(0.5, 1.5, 50)])
    >>> pairwise_levels(gaps, delta=0.1).round(2)
    array([[0., 0., 1.],
           [0., 0., 1.],
           [1., 1., 0.]])
    """
    check_delta(delta)
    runs = SortedRuns.of(as_float_tensor(gaps, "gaps"))
    size = float(runs.values.shape[1])
    columns = [
        solve_levels(runs, StepReference(row[None], size), [Tolerance(delta)], memory=memory)[0].level
        for row in runs.values
    ]
    return np.stack(columns, axis=1)


def reference_distance(first: StepReference, second: StepReference) -> float:
    """Kolmogorov-Smirnov distance between two shared references."""
    runs = SortedRuns(first.atoms, prefix=first.prefix)
    return float(robust_distance(build_cells(runs, second), 1.0)[0])


def left_out_levels(
    gaps: Float[np.ndarray, "m n"], *, deltas: Sequence[Real], groups: int = 20
) -> list[ConsensusLevels]:
    """Levels of the other runs without each run, or without each of ``groups`` parts of very many: for a jackknife."""
    parts = np.array_split(np.arange(len(gaps)), min(groups, len(gaps)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of wide tolerances and equal runs, which all runs have said
        return [consensus_levels(np.delete(gaps, part, axis=0), deltas=deltas) for part in parts]
