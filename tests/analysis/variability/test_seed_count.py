"""How many seeds: the plan, the stopping rule, and the curve."""

import numpy as np
import pytest

from analysis.variability.seed_count import distribution_spread, ensemble_curve, planned_runs, recommend_seed_count

RNG = np.random.default_rng(0)
SIGNAL = RNG.normal(size=400)


def runs(count, spread, seed=1):
    rng = np.random.default_rng(seed)
    return SIGNAL + rng.normal(0, spread, size=(count, 1)) + 0.3 * rng.normal(size=(count, 400))


def test_plan_from_the_pilot():
    assert planned_runs(0.1, delta=0.0738) == 67  # (3 * 0.1 / (0.5 * 0.0738))^2 = 66.1
    tight, wide = distribution_spread(runs(40, 0.05)), distribution_spread(runs(40, 0.5))
    assert 0 < tight < wide < 0.5
    shifts = np.linspace(-5, 5, 10)[:, None] + np.zeros((10, 400))
    shares = np.array([(row[0] <= shifts[5, 0]) for row in shifts], dtype=float)
    assert distribution_spread(shifts) == pytest.approx(shares.std(ddof=1), abs=0.02)


def test_stopping_rule_stops_earlier_for_quieter_runs():
    quiet = recommend_seed_count(runs(160, 0.05), delta=0.1, rng=np.random.default_rng(2))
    loud = recommend_seed_count(runs(160, 0.8), delta=0.1, rng=np.random.default_rng(2))
    assert quiet.rungs.tolist() == [10, 20, 40, 80, 160]
    assert quiet.recommended is not None
    assert "recommended M =" in quiet.describe()
    assert loud.recommended is None
    assert "no stop within 160 runs" in loud.describe()
    assert loud.planned > quiet.planned
    assert (np.diff(quiet.distance) < 0).all()


def test_curve_falls_like_one_over_root_m_for_mixtures():
    curve = ensemble_curve(
        runs(60, 0.4), runs(120, 0.4, seed=3), sizes=[2, 8, 32], delta=0.05, rng=np.random.default_rng(4), subsets=20
    )
    means = curve.ks.mean(axis=1)
    assert means[0] / means[1] == pytest.approx(2, rel=0.4)
    assert curve.level.shape == (3, 20)
    assert curve.level.mean(axis=1)[0] > curve.level.mean(axis=1)[2]
    with pytest.raises(ValueError, match=r"must be in 1\.\.60"):
        ensemble_curve(runs(60, 0.4), runs(10, 0.4), sizes=[61], delta=0.05, rng=np.random.default_rng(4))


def test_too_few_runs_for_the_rule():
    with pytest.raises(ValueError, match="starts at 10 runs, got 6"):
        recommend_seed_count(runs(6, 0.1), delta=0.1, rng=np.random.default_rng(0))
    with pytest.raises(ValueError, match="delta > 0"):
        planned_runs(0.1, delta=0)
