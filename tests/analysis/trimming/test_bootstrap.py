"""Bootstrap draws are what they claim to be, and intervals cover as the method document measured."""

import numpy as np
import pytest
import torch

from analysis.resampling import interval_from_draws, multiplicities
from analysis.trimming.bootstrap import bootstrap_levels, null_levels, reference_run_levels
from analysis.trimming.distributions import SortedRuns, StepReference
from analysis.trimming.references import REFERENCES, consensus_levels
from analysis.trimming.solver import Tolerance, solve_levels

RNG = np.random.default_rng(0)
GAPS = RNG.normal(size=90) + 0.8 * RNG.normal(size=(6, 90)) + RNG.normal(0, 0.4, size=(6, 1))


@pytest.mark.parametrize("kind", REFERENCES)
@pytest.mark.parametrize("disjoint", [False, True])
def test_weighted_draws_equal_explicit_resamples(kind, disjoint):
    candidates, others = (GAPS[:3], GAPS[3:]) if disjoint else (GAPS, None)
    found = bootstrap_levels(candidates, others, kind=kind, delta=0.05, draws=20, rng=np.random.default_rng(1))
    again = np.random.default_rng(1)
    for draw in range(3):
        taken = np.repeat(np.arange(90), multiplicities(90, again))
        # Equal examples tie exactly in every run, so explicit means tie exactly as well.
        explicit = consensus_levels(
            candidates[:, taken], None if others is None else others[:, taken], deltas=[0.05], kinds=[kind]
        )
        np.testing.assert_allclose(found[draw], explicit.level(kind, 0.05), atol=1e-9)


def test_draws_do_not_depend_on_the_memory_budget():
    def levels(memory):
        return bootstrap_levels(GAPS, delta=0.05, draws=20, rng=np.random.default_rng(2), memory=memory)

    np.testing.assert_array_equal(levels(1), levels(2**31))


def test_reference_runs_resampled_and_null_levels():
    spread = reference_run_levels(GAPS[:2], GAPS[2:], delta=0.05, draws=20, rng=np.random.default_rng(3))
    assert spread.shape == (20, 2)
    assert (spread.std(axis=0) > 0).all()
    null = null_levels(GAPS.ravel(), 500, delta=0.02, draws=50, rng=np.random.default_rng(4))
    assert 0 < (null > 0).mean() < 1
    assert (null_levels(GAPS.ravel(), 500, delta=0.2, draws=50, rng=np.random.default_rng(4)) == 0).all()


@pytest.mark.slow
def test_basic_intervals_of_levels_cover_better_than_percentile_ones():
    # One row per trial: independent pairs may share the multiplicities of a draw.
    rng = np.random.default_rng(5)
    truth, trials, n = 0.248, 300, 1000
    runs = SortedRuns.of(torch.from_numpy(rng.normal(0.5, 1.2, size=(trials, n))), keep_order=True)
    atoms, order = torch.sort(torch.from_numpy(rng.normal(size=(trials, n))), dim=1)
    reference = StepReference(atoms, n)
    positions = reference.positions(runs.values)
    levels = solve_levels(runs, reference, [Tolerance(0.05)], positions=positions)[0].level
    draws = np.empty((60, trials))
    for draw in range(60):
        counts = torch.from_numpy(multiplicities(n, rng))
        prefix = torch.nn.functional.pad(torch.cumsum(counts[order].double(), dim=1), (1, 0))
        drawn = StepReference(atoms, n, prefix)
        draws[draw] = solve_levels(runs.reweighted(counts), drawn, [Tolerance(0.05)], positions=positions)[0].level
    assert levels.mean() == pytest.approx(0.281, abs=0.008)
    assert draws.mean() == pytest.approx(0.301, abs=0.008)
    covered = {}
    for kind in ("basic", "percentile"):
        interval = interval_from_draws(levels, draws, kind=kind)
        covered[kind] = ((interval.low <= truth) & (truth <= interval.high)).mean()
    assert covered["basic"] == pytest.approx(0.93, abs=0.05)
    assert covered["percentile"] == pytest.approx(0.79, abs=0.08)


def test_bad_settings():
    rng = np.random.default_rng(9)
    with pytest.warns(UserWarning, match="10 bootstrap draws are too few"):
        bootstrap_levels(GAPS, delta=0.1, draws=10, rng=rng)
    with pytest.raises(ValueError, match="at least 2"):
        bootstrap_levels(GAPS, delta=0.1, draws=1, rng=rng)
    with pytest.raises(ValueError, match="a joint draw needs the same examples"):
        bootstrap_levels(GAPS[:2], GAPS[2:, :50], delta=0.1, rng=rng)
