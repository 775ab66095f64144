"""Sorted runs and references count mass exactly, with weights as with repeated values."""

import math

import numpy as np
import pytest
import torch

from analysis.trimming.distributions import (
    ContinuousReference,
    SortedRuns,
    StepReference,
    as_float_tensor,
    build_cells,
)

GAPS = torch.from_numpy(np.random.default_rng(0).normal(size=(3, 12)).round(1))


def test_values_stay_in_the_precision_that_orders_them():
    assert as_float_tensor(np.arange(3), "x").dtype == torch.float64
    assert as_float_tensor(np.arange(3, dtype=np.float32), "x").dtype == torch.float32
    assert as_float_tensor(np.arange(3, dtype=np.float16), "x").dtype == torch.float32
    with pytest.raises(ValueError, match="x is empty"):
        as_float_tensor(np.empty(0), "x")


def test_reweighted_runs_hold_the_mass_of_repeated_examples():
    counts = torch.tensor([0, 3, 1, 1, 0, 2, 1, 1, 1, 0, 1, 1])
    runs = SortedRuns.of(GAPS, keep_order=True).reweighted(counts)
    repeated = SortedRuns.of(torch.repeat_interleave(GAPS, counts, dim=1))
    for row in range(3):
        for i, value in enumerate(runs.values[row]):
            up_to = int((repeated.values[row] <= value).sum())
            last = i + 1 == 12 or runs.values[row, i + 1] > value
            assert not last or runs.prefix_mass()[row, i + 1] == up_to
    with pytest.raises(ValueError, match="keep_order=True"):
        SortedRuns.of(GAPS).reweighted(counts)


def test_positions_and_mass_of_a_reference_are_its_distribution():
    reference = StepReference(torch.tensor([[0.0, 1.0, 1.0, 2.0]]), 4.0, torch.tensor([[0.0, 1.0, 1.0, 4.0, 6.0]]))
    at, below = reference.positions(torch.tensor([[-1.0, 1.0, 5.0]]))
    assert at.tolist() == [[0, 3, 4]] and below.tolist() == [[0, 1, 4]]
    assert reference.mass_at(at).tolist() == [[0.0, 4.0, 6.0]]
    assert reference.total().tolist() == [[6.0]]
    assert reference.take(slice(0, 1)) is reference


def test_cells_of_a_step_and_of_a_known_distribution():
    runs = SortedRuns.of(torch.tensor([[0.25, 0.75]], dtype=torch.float64))
    known = build_cells(runs, ContinuousReference(lambda t: t.clamp(0, 1)))
    assert known.mass.tolist() == [[0.0, 0.5, 1.0]]
    assert known.lo.tolist() == [[0.0, 0.25, 0.75]] and known.hi.tolist() == [[0.25, 0.75, 1.0]]
    steps = build_cells(runs, StepReference(torch.tensor([[0.5, 0.5]], dtype=torch.float64), 2.0))
    assert steps.lo.tolist() == [[0.0, 0.0, 1.0]] and steps.hi.tolist() == [[0.0, 1.0, 1.0]]
    tied = build_cells(SortedRuns.of(torch.zeros(1, 2, dtype=torch.float64)), ContinuousReference(torch.sigmoid))
    assert tied.lo[0, 1] == math.inf and tied.hi[0, 1] == -math.inf
