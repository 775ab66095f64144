"""Which seed: rankings with their uncertainty, selection, and the most central run."""

import numpy as np
import pytest
import torch
from scipy.stats import norm

from analysis.trimming.bootstrap import bootstrap_levels
from analysis.trimming.level import robust_ks_distance, trimming_level
from analysis.trimming.references import consensus_levels
from analysis.variability.seed_ranking import medoid, pairwise_ks, rank_seeds, select_seed

SIGNAL = np.random.default_rng(0).normal(size=400)


def runs(count, spread, seed=1):
    rng = np.random.default_rng(seed)
    return SIGNAL + rng.normal(0, spread, size=(count, 1)) + 0.3 * rng.normal(size=(count, 400))


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


def test_a_level_of_zero_in_all_draws_has_no_interval_of_width_zero():
    ranking = rank_seeds(np.array([0.0, 0.2]), np.array([[0.0, 0.1], [0.0, 0.3]] * 30))
    assert ranking.level_low[0] == 0
    assert ranking.level_high[0] == pytest.approx(3 / 60)


def test_selection_guards_accuracy():
    levels = np.array([0.1, 0.0, 0.0, 0.3])
    accuracy = np.array([0.9, 0.5, 0.8, 0.9])
    rng = np.random.default_rng(0)
    assert select_seed(levels, accuracy, rng=rng) == 0
    assert select_seed(levels, accuracy, rng=rng, guard=0.1) == 2


def test_equal_levels_are_decided_at_random_and_not_by_accuracy():
    rng = np.random.default_rng(0)
    chosen = [select_seed(np.zeros(4), np.array([0.9, 0.91, 0.92, 0.93]), rng=rng, guard=0.1) for _ in range(400)]
    assert np.bincount(chosen, minlength=4).min() > 60


def test_pairwise_distances_and_medoid():
    gaps = np.concatenate([runs(4, 0.05), runs(1, 0.05) + 2])
    distances = pairwise_ks(gaps)
    np.testing.assert_allclose(distances, distances.T)
    assert distances[0, 4] == pytest.approx(robust_ks_distance(gaps[0], gaps[4], alpha=0.0))
    assert medoid(distances) != 4
    assert trimming_level(gaps[medoid(distances)], gaps[4], delta=0.05) > 0.5


def covered(mean: float, sd: float, studies: int) -> tuple[float, float]:
    """Share of studies whose interval holds the level of the population, and share without a width."""
    examples, delta = 400, 0.115
    places = (np.arange(4000) + 0.5) / 4000
    true = trimming_level(norm.ppf(places, mean, sd), lambda values: torch.special.ndtr(values), delta=delta)
    hits = flat = 0
    for seed in range(studies):
        rng = np.random.default_rng(seed)
        candidate, reference = rng.normal(mean, sd, (2, examples)), rng.normal(size=(20, examples))
        levels = consensus_levels(candidate, reference, deltas=[delta], kinds=["mixture"]).level("mixture", delta)
        found = rank_seeds(levels, bootstrap_levels(candidate, reference, delta=delta, draws=60, rng=rng))
        low, high = float(found.level_low[0]), float(found.level_high[0])
        assert 0 <= low <= levels[0] <= high <= 1
        hits += low <= true <= high
        flat += low == high
    return hits / studies, flat / studies


@pytest.mark.slow
@pytest.mark.parametrize(("mean", "sd"), [(0.3, 1.0), (0.36, 1.0), (0.5, 1.0)])
def test_the_interval_of_a_small_level_has_a_width_and_covers_it(mean, sd):
    hit, flat = covered(mean, sd, 60)
    assert hit >= 0.88
    assert flat <= 0.05
