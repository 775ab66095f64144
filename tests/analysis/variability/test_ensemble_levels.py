"""Levels of consensuses with the runs of both sides resampled, and what they say about B1."""

import dataclasses

import numpy as np
import pytest

from analysis.trimming.references import consensus_levels
from analysis.variability.ensemble_levels import claim_b1, default_sizes, resampled_levels
from analysis.verdicts import FAILS, HOLDS, OPEN

SIGNAL = 2 * np.random.default_rng(0).normal(size=400)


def runs(rng, count, shift, noise=0.5):
    return SIGNAL + rng.normal(0, shift, size=(count, 1)) + noise * rng.normal(size=(count, 400))


def sides(seed, shift, **options):
    rng = np.random.default_rng(seed)
    gaps = runs(rng, 200, shift)
    offset = options.pop("offset", 0.0)
    chosen = {"sizes": [1, 33], "delta": 0.05, "draws": 60, "points": 256} | options
    return resampled_levels(gaps[:100], gaps[100:] + offset, rng=rng, **chosen)


def test_sizes_stop_at_a_third_of_the_pool():
    assert default_sizes(100) == [1, 2, 4, 8, 16, 32, 33]
    assert default_sizes(2) == [1]
    with pytest.raises(ValueError, match="a third of the 100 runs"):
        sides(0, 0.4, sizes=[1, 100])


@pytest.mark.parametrize("kind", ["mixture", "logit_mean", "quantile_mean"])
def test_levels_on_the_grid_are_those_of_the_solver(kind):
    rng = np.random.default_rng(1)
    pool, reference = runs(rng, 6, 0.5), runs(rng, 20, 0.5)
    found = resampled_levels(pool, reference, sizes=[1], delta=0.05, rng=rng, kind=kind, draws=20, points=8192)
    exact = consensus_levels(pool, reference, deltas=[0.05], kinds=["mixture"]).level("mixture", 0.05)
    assert found.level[0] == pytest.approx(exact.mean(), abs=1e-3)  # a grid of 8,192 points hides less than that


def test_b1_holds_where_consensuses_are_near_and_single_runs_are_not():
    found = claim_b1(sides(2, 0.45))
    assert found.decided.outcome == HOLDS
    assert found.details["level_at_33"] < 0.05 < found.details["level_at_1"]
    assert found.details["named_m"] == 33
    assert claim_b1(sides(2, 0.45), need=150).decided.outcome == OPEN


def test_b1_is_open_where_a_single_run_passes_and_fails_where_consensuses_stay_away():
    near = claim_b1(sides(3, 0.02))
    assert near.decided.outcome == OPEN
    assert "single run passes" in near.decided.evidence
    assert claim_b1(sides(4, 0.3, offset=1.5)).decided.outcome == FAILS
    found = sides(4, 0.3)
    alone = dataclasses.replace(found, sizes=found.sizes[1:], level=found.level[1:], draws=found.draws[1:])
    assert "too small" in claim_b1(alone).decided.evidence


def test_the_interval_has_the_width_of_fresh_runs():
    """Both sides drawn anew, on the same test examples: 50 studies of 100 + 100 runs at the largest M."""
    found = [sides(100 + seed, 0.5, sizes=[33], delta=0.02, draws=40, points=128) for seed in range(50)]
    intervals = np.array([one.interval(0) for one in found])
    assert (intervals[:, 2] > intervals[:, 1]).all()
    truth = intervals[:, 0].mean()
    covered = ((intervals[:, 1] <= truth) & (truth <= intervals[:, 2])).mean()
    assert covered >= 0.88  # nominal 0.95, with 50 studies
