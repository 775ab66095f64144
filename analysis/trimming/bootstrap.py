"""How uncertain a trimming level is: joint bootstrap over test examples, and resampled reference runs.

Runs share their inputs, so that one draw takes the same examples for all of them. Sorted order and positions are
computed once; a draw is then a cumulative sum of multiplicities, O(n) for each run.

The level is biased up, and its bootstrap mean more so: basic intervals (2 level - quantile) cover better than
percentile ones, and neither means anything where the level is 0.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from analysis.resampling import check_draws, multiplicities
from analysis.trimming.distributions import (
    Positions,
    Real,
    Rows,
    SortedRuns,
    StepReference,
    as_float_tensor,
    sort_values,
)
from analysis.trimming.level import check_delta
from analysis.trimming.references import check_kinds, check_runs, consensus_reference
from analysis.trimming.solver import Tolerance, solve_levels
from kernels.arguments import checked_arguments


class _ResampledReference:
    """A consensus reference that can be recomputed for every draw of examples."""

    def __init__(self, candidates: Tensor, runs: SortedRuns, others: Tensor | None, kind: str) -> None:
        self.kind, self.runs, self.left_out = kind, runs, others is None
        self.size = float(candidates.shape[1])
        source = candidates if others is None else others
        self.positions: Positions | None = None
        if kind == "quantile_mean":
            self.source = runs if others is None else SortedRuns.of(others, keep_order=True)
            return
        if kind == "mixture":
            values = source.reshape(1, -1)
        elif others is None:
            values = (torch.sum(source, 0, dtype=torch.float64) - source.to(torch.float64)) / (len(source) - 1)
        else:
            values = torch.mean(source.to(torch.float64), 0, keepdim=True)
        self.atoms, order = torch.sort(values, dim=1)
        self.order = order % candidates.shape[1]
        self.positions = self._step(None).positions(runs.values)

    def _step(self, prefix: Tensor | None) -> StepReference:
        return StepReference(self.atoms, self.size, prefix, leave_out=self.left_out and self.kind == "mixture")

    def drawn(self, counts: Tensor) -> StepReference:
        """Give the reference of one draw."""
        if self.kind != "quantile_mean":
            weights = counts.to(torch.float64)[self.order]
            return self._step(torch.nn.functional.pad(torch.cumsum(weights, dim=1), (1, 0)))
        # Order statistics of the draw: each sorted value repeated as often as its example was taken.
        order, values = self.source.order, self.source.values
        assert order is not None
        repeated = torch.repeat_interleave(values.reshape(-1), counts[order].reshape(-1)).reshape(len(values), -1)
        total = torch.sum(repeated, dim=0, keepdim=True, dtype=torch.float64)
        if self.left_out:
            return StepReference(sort_values((total - repeated.to(torch.float64)) / (len(values) - 1)), self.size)
        return StepReference(sort_values(total / len(values)), self.size)


@checked_arguments
def bootstrap_levels(
    gaps: Rows,
    reference_gaps: Rows | None = None,
    *,
    kind: str = "mixture",
    delta: Real,
    draws: int = 200,
    rng: np.random.Generator,
    size: int | None = None,
    device: str | torch.device | None = None,
    memory: int = 2**31,
) -> Float[np.ndarray, "b m"]:
    """Levels of every run for each joint draw of test examples; see `bootstrap_level_sets` for parameters.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.trimming import bootstrap_levels
    >>> rng = np.random.default_rng(0)
    >>> gaps = rng.normal(size=200) + 0.2 * rng.normal(size=(4, 200)) + np.array([[0], [0], [0], [1]])
    >>> draws = bootstrap_levels(gaps, delta=0.1, draws=20, rng=rng)
    >>> draws.mean(axis=0).round(2), draws.std(axis=0).round(2)
    (array([0.37, 0.18, 0.25, 0.81]), array([0.11, 0.05, 0.11, 0.1 ]))
    """
    return bootstrap_level_sets(
        gaps,
        reference_gaps,
        kind=kind,
        deltas=[delta],
        draws=draws,
        rng=rng,
        size=size,
        device=device,
        memory=memory,
    )[0]


def bootstrap_level_sets(
    gaps: Rows,
    reference_gaps: Rows | None = None,
    *,
    kind: str = "mixture",
    deltas: Sequence[Real],
    draws: int = 200,
    rng: np.random.Generator,
    size: int | None = None,
    device: str | torch.device | None = None,
    memory: int = 2**31,
) -> Float[np.ndarray, "d b m"]:
    """Levels of every run at several tolerances for each joint draw of test examples.

    Parameters
    ----------
    gaps : array, shape (m, n)
        Candidates.
    reference_gaps : array, shape (k, n), optional
        Reference runs on the same examples; default: each candidate against all others.
    kind : {"logit_mean", "mixture", "quantile_mean"}
        Reference.
    deltas : sequence of float
        Tolerances, the same for all draws.
    draws : int
        Number of draws; a warning below 20.
    rng : numpy.random.Generator
        Source of randomness; a draw takes ``multiplicities(n, rng, size)``.
    size : int, optional
        Examples in a draw (m-out-of-n bootstrap).
    device, memory
        As in `analysis.trimming.level.trimming_results`.
    """
    check_kinds([kind])
    for delta in deltas:
        check_delta(delta)
    check_draws(draws, 0.95)
    if size is not None and size < 1:
        raise ValueError(f"size={size}: a draw needs at least one example.")
    candidates = as_float_tensor(gaps, "gaps", device)
    others = None if reference_gaps is None else as_float_tensor(reference_gaps, "reference_gaps", candidates.device)
    check_runs(len(candidates if others is None else others), "reference")
    if others is not None and others.shape[1] != candidates.shape[1]:
        raise ValueError(f"a joint draw needs the same examples, got {candidates.shape[1]} and {others.shape[1]}")
    runs = SortedRuns.of(candidates, keep_order=True)
    reference = _ResampledReference(candidates, runs, others, kind)
    found = np.empty((len(deltas), draws, len(candidates)))
    for draw in range(draws):
        counts = torch.from_numpy(multiplicities(candidates.shape[1], rng, size)).to(candidates.device)
        results = solve_levels(
            runs.reweighted(counts),
            reference.drawn(counts),
            [Tolerance(delta) for delta in deltas],
            positions=reference.positions,
            memory=memory,
        )
        found[:, draw] = [result.level for result in results]
    return found


def reference_run_levels(
    gaps: Rows,
    reference_gaps: Rows,
    *,
    kind: str = "mixture",
    delta: Real,
    draws: int = 50,
    rng: np.random.Generator,
    memory: int = 2**31,
) -> Float[np.ndarray, "b m"]:
    """Levels against references made of resampled reference runs: how much they depend on the choice of runs.

    Their standard deviation over draws is the standard error that more reference runs would shrink.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.trimming import reference_run_levels
    >>> rng = np.random.default_rng(0)
    >>> gaps = rng.normal(size=100) + rng.normal(0, 0.5, size=(33, 1))
    >>> few = reference_run_levels(gaps[:1], gaps[1:5], delta=0.1, draws=20, rng=rng)
    >>> many = reference_run_levels(gaps[:1], gaps[1:], delta=0.1, draws=20, rng=rng)
    >>> round(float(few.std()), 2), round(float(many.std()), 2)  # standard errors with 4 and with 32 reference runs
    (0.29, 0.22)
    """
    check_kinds([kind])
    check_delta(delta)
    check_draws(draws, 0.95)
    candidates = SortedRuns.of(as_float_tensor(gaps, "gaps"))
    others = as_float_tensor(reference_gaps, "reference_gaps")
    check_runs(len(others), "reference")
    found = np.empty((draws, len(candidates.values)))
    for draw in range(draws):
        taken = torch.from_numpy(rng.integers(0, len(others), size=len(others)))
        reference = consensus_reference(others[taken], kind)
        found[draw] = solve_levels(candidates, reference, [Tolerance(delta)], memory=memory)[0].level
    return found


def null_levels(
    reference: Float[np.ndarray, " k"], examples: int, *, delta: Real, draws: int, rng: np.random.Generator
) -> Float[np.ndarray, " b"]:
    """Levels of samples that really come from the reference: what noise alone produces at this delta.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.trimming import null_levels
    >>> rng = np.random.default_rng(0)
    >>> reference = rng.normal(size=500)
    >>> levels = [null_levels(reference, 200, delta=delta, draws=20, rng=rng) for delta in (0.02, 0.2)]
    >>> [float((one > 0).mean()) for one in levels]  # a tolerance of 0.02 is below the noise of 200 examples
    [1.0, 0.0]
    """
    check_delta(delta)
    samples = rng.choice(reference, size=(draws, examples))
    shared = StepReference(torch.from_numpy(np.sort(reference))[None], float(examples))
    return solve_levels(SortedRuns.of(torch.from_numpy(samples)), shared, [Tolerance(delta)])[0].level
