"""How many seeds and which seed: the plan, the stopping rule, the curve, and rankings with uncertainty."""

import numpy as np
import pytest

from analysis.trimming.bootstrap import bootstrap_levels
from analysis.trimming.level import robust_ks_distance, trimming_level
from analysis.trimming.references import consensus_levels
from analysis.variability.seed_count import distribution_spread, ensemble_curve, planned_runs, seed_count
from analysis.variability.seed_ranking import medoid, pairwise_ks, rank_seeds, select_seed

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
    quiet = seed_count(runs(160, 0.05), delta=0.1, rng=np.random.default_rng(2))
    loud = seed_count(runs(160, 0.8), delta=0.1, rng=np.random.default_rng(2))
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
    with pytest.raises(ValueError, match=r"must lie in 1\.\.60"):
        ensemble_curve(runs(60, 0.4), runs(10, 0.4), sizes=[61], delta=0.05, rng=np.random.default_rng(4))


def test_too_few_runs_for_the_rule():
    with pytest.raises(ValueError, match="starts at 10 runs, got 6"):
        seed_count(runs(6, 0.1), delta=0.1, rng=np.random.default_rng(0))
    with pytest.raises(ValueError, match="delta > 0"):
        planned_runs(0.1, delta=0)


def test_ranking_separates_a_clear_winner_and_ties_equals():
    gaps = np.concatenate([runs(3, 0.01), runs(3, 0.01, seed=5) + 1.0])
    reference = runs(20, 0.01, seed=6)
    levels = consensus_levels(gaps, reference, deltas=[0.05], kinds=["mixture"]).level("mixture", 0.05)
    draws = bootstrap_levels(gaps, reference, delta=0.05, draws=60, rng=np.random.default_rng(7))
    ranking = rank_seeds(levels, draws)
    assert set(ranking.order[:3]) == {0, 1, 2}
    assert ranking.ties_with_best.tolist() == [True] * 3 + [False] * 3
    assert ranking.share_best.sum() == pytest.approx(1)
    assert (ranking.rank_low[3:] > 3).all()
    assert (ranking.level_low <= levels).all()


def test_selection_guards_accuracy():
    levels = np.array([0.1, 0.0, 0.0, 0.3])
    accuracy = np.array([0.9, 0.5, 0.8, 0.9])
    assert select_seed(levels, accuracy) == 0
    assert select_seed(levels, accuracy, guard=0.1) == 2


def test_pairwise_distances_and_medoid():
    gaps = np.concatenate([runs(4, 0.05), runs(1, 0.05) + 2])
    distances = pairwise_ks(gaps)
    np.testing.assert_allclose(distances, distances.T)
    assert distances[0, 4] == pytest.approx(robust_ks_distance(gaps[0], gaps[4], alpha=0.0))
    assert medoid(distances) != 4
    assert trimming_level(gaps[medoid(distances)], gaps[4], delta=0.05) > 0.5
