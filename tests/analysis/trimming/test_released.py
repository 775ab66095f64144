"""Each switch of the published protocol does what the released code does, and nothing else."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from analysis.trimming.distributions import SortedRuns, StepReference
from analysis.trimming.level import trimming_levels
from analysis.trimming.released import (
    CORRECTED,
    PUBLISHED_2024,
    PUBLISHED_2025,
    SENTINEL,
    clip_gaps,
    grid_levels,
    interpolated,
    protocol_levels,
)
from tests.references.trimming_lp import level_by_grid

RNG = np.random.default_rng(0)
GAPS = 3 * RNG.normal(size=600) + RNG.normal(size=(8, 600)) + RNG.normal(0, 0.8, size=(8, 1))
LEFT, RIGHT = GAPS[:4], GAPS[4:]


def levels(protocol, seed=0):
    return protocol_levels(LEFT, RIGHT, protocol=protocol, rng=np.random.default_rng(seed))


def test_corrected_protocol_is_the_exact_level():
    found = levels(CORRECTED)
    np.testing.assert_array_equal(found.level, trimming_levels(LEFT, RIGHT, delta=found.delta))
    assert found.delta == pytest.approx(np.sqrt(np.log(200) / 600))
    assert found.clipped == 0


def test_grid_rounds_up_and_equals_its_linear_programs():
    rng = np.random.default_rng(1)
    for shift in (0.0, 0.5, 1.2, 9.0):
        x, y = rng.normal(shift, 1, size=14), rng.normal(size=11)
        runs = SortedRuns(torch.from_numpy(np.sort(x))[None])
        found = grid_levels(runs, StepReference(torch.from_numpy(np.sort(y))[None], 11), delta=0.2)[0]
        expected = level_by_grid(x, y, 0.2)
        assert found == (SENTINEL if expected is None else expected)
    exact, rounded = levels(CORRECTED).level, levels(replace(CORRECTED, solver="grid"))
    assert (rounded.level >= np.minimum(exact, SENTINEL) - 1e-12).all()
    assert set(rounded.at_sentinel) <= {0.0, 1.0}


def test_clipping_reports_what_it_moved():
    gaps = np.array([[-20.0, -1.0, 0.5, 16.0], [-3.0, -1.0, 2.0, 4.0]])
    clamped, share = clip_gaps(gaps, "clamp")
    assert clamped[0].tolist() == [-15, -1, 0.5, 15]
    assert share == 0.25
    zeroed, share = clip_gaps(gaps, "zero_15")
    assert zeroed[0].tolist() == [0, -1, 0.5, 0]
    assert share == 0.25
    common, share = clip_gaps(gaps, "zero_common")
    assert common.tolist() == [[0, -1, 0.5, 0], [0, -1, 2, 0]]
    assert share == 0.5
    with pytest.raises(ValueError, match="unknown clip"):
        clip_gaps(gaps, "wrap")


def test_presorting_makes_the_mean_of_rows_a_mean_of_quantiles():
    presorted = levels(replace(CORRECTED, presort=True, reference="logit_mean")).level
    np.testing.assert_allclose(presorted, levels(replace(CORRECTED, reference="quantile_mean")).level)


def test_interpolation_moves_the_distance_by_at_most_a_step():
    step = StepReference(torch.from_numpy(np.sort(RIGHT[0].round(1)))[None], 600)
    smooth = interpolated(step)
    values, counts = np.unique(RIGHT[0].round(1), return_counts=True)
    at = smooth.cdf(torch.from_numpy(values)).numpy()
    np.testing.assert_allclose(at, np.cumsum(counts) / 600)
    middle = smooth.cdf(torch.from_numpy((values[:-1] + values[1:]) / 2)).numpy()
    np.testing.assert_allclose(middle, (at[:-1] + at[1:]) / 2)
    outside = smooth.cdf(torch.tensor([values[0] - 1, values[-1] + 1])).numpy()
    assert outside.tolist() == [0, 1]
    assert levels(replace(CORRECTED, cdf="linear")).delta == pytest.approx(levels(CORRECTED).delta + 1 / 600)


def test_published_protocols_run_seeded_and_differ_from_the_corrected_one():
    for protocol in (PUBLISHED_2024, PUBLISHED_2025):
        short = replace(protocol, boots=20)
        first, again = levels(short), levels(short)
        np.testing.assert_array_equal(first.level, again.level)
        assert first.delta == pytest.approx(np.sqrt(np.log(200) / 300) + 1 / 300)
        assert not np.allclose(first.level, levels(CORRECTED).level)
        assert ((first.level >= 0) & (first.level <= SENTINEL)).all()
    assert levels(PUBLISHED_2024).clipped > 0


def test_bad_grids_and_sides():
    runs = SortedRuns(torch.zeros(1, 3, dtype=torch.float64))
    for grid in ((), (0.2, 0.1), (0.0, 1.0), (-0.1, 0.2)):
        with pytest.raises(ValueError, match="must ascend within"):
            grid_levels(runs, StepReference(torch.zeros(1, 3, dtype=torch.float64), 3), delta=0.1, grid=grid)
    with pytest.raises(ValueError, match=r"1 run\(s\) on the reference side"):
        protocol_levels(LEFT, RIGHT[:1], rng=np.random.default_rng(0))
