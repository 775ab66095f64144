"""Retraining without some points judges attributions by its definitions."""

import numpy as np
import pytest

from analysis.attribution.decomposition import top_scores
from analysis.attribution.leave_out import leave_out_effects, leave_out_sets
from analysis.attribution.masks import stability
from analysis.attribution.retraining import (
    linear_datamodeling_score,
    noise_ceiling,
    random_subsets,
    resampled_correlations,
)
from tests.references import attribution_formulas as reference


def test_datamodeling_score_of_true_linear_effects_is_one_and_of_noise_none():
    rng = np.random.default_rng(0)
    effects = rng.normal(size=(20, 60))
    subsets = random_subsets(60, 80, rng)
    assert (subsets.sum(1) == 30).all()
    margins = subsets @ effects.T
    exact = linear_datamodeling_score(effects, subsets, margins, rng=rng, draws=50)
    np.testing.assert_allclose(exact.per_point, 1)
    assert exact.mean.estimate == pytest.approx(1)
    noise = linear_datamodeling_score(rng.normal(size=(20, 60)), subsets, margins, rng=rng, draws=200)
    assert noise.mean.low < 0 < noise.mean.high and abs(noise.mean.estimate) < 0.1
    seeds = margins[:, None] + rng.normal(size=(80, 4, 20))
    ceiling = noise_ceiling(seeds, rng=rng, draws=50).mean.estimate
    assert 0.8 < ceiling < 1
    with pytest.raises(ValueError, match="do not belong together"):
        linear_datamodeling_score(effects[:, :-1], subsets, margins, rng=rng)
    with pytest.raises(ValueError, match="at least 2 seeds"):
        noise_ceiling(seeds[:, :1], rng=rng)
    with pytest.raises(ValueError, match="over 2 subsets"):
        noise_ceiling(seeds[:2], rng=rng)
    with pytest.raises(ValueError, match="2 subsets"):
        linear_datamodeling_score(effects, subsets[:2], margins[:2], rng=rng)
    with pytest.raises(ValueError, match="strictly between"):
        random_subsets(60, 2, rng, fraction=1.0)


@pytest.mark.parametrize("seeds", [2, 4, 6])
def test_the_ceiling_is_the_mean_of_all_halves_corrected_to_all_seeds(seeds):
    rng = np.random.default_rng(seeds)
    margins = rng.normal(size=(30, 1, 5)) + rng.normal(size=(30, seeds, 5))
    found = noise_ceiling(margins, rng=rng, draws=20)
    assert found.mean.estimate == pytest.approx(reference.ceiling_of_halves(margins), abs=1e-9)
    assert found.per_point.mean() <= found.mean.estimate  # the root is concave


@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
@pytest.mark.parametrize("noise", [1.0, 2.0])
def test_the_true_effects_reach_the_ceiling_and_stay_below_it(seeds, noise):
    rng = np.random.default_rng(0)
    effects = rng.normal(size=(60, 200))
    subsets = random_subsets(200, 100, rng)
    signal = effects @ subsets.T
    margins = signal.T[:, None] + noise * signal.std(1).mean() * rng.normal(size=(100, seeds, 60))
    best = linear_datamodeling_score(effects, subsets, margins.mean(1), rng=rng, draws=20).mean.estimate
    top = noise_ceiling(margins, rng=rng, draws=20).mean.estimate
    attainable = 1 / np.sqrt(1 + noise**2 / seeds)
    assert best <= top + 0.02 and top == pytest.approx(attainable, abs=0.03)


def test_of_many_splits_some_are_drawn():
    rng = np.random.default_rng(0)
    margins = rng.normal(size=(20, 1, 3)) + rng.normal(size=(20, 16, 3))
    found = noise_ceiling(margins, rng=rng, draws=20).mean.estimate
    assert found == pytest.approx(1 / np.sqrt(1 + 1 / 16), abs=0.04)


@pytest.mark.slow
def test_the_scores_interval_covers_studies_with_other_subsets_and_other_test_points():
    """Each study draws its own subsets, test points and seed noise; over test points alone few cover."""
    rng = np.random.default_rng(0)
    n, points, count = 60, 30, 40
    shared = rng.normal(size=n)  # what all test points have in common, so that subsets move their scores together
    wrong = 1.5 * rng.permutation(shared)  # what the method gets wrong, in every study

    def study(draws):
        effects = shared + 0.5 * rng.normal(size=(points, n))
        guess = effects + wrong
        subsets = random_subsets(n, count, rng)
        margins = subsets @ effects.T + 2.0 * rng.normal(size=(count, points))
        return linear_datamodeling_score(guess, subsets, margins, rng=rng, draws=draws)

    truth = float(np.mean([study(20).mean.estimate for _ in range(400)]))
    covered, alone = [], []
    for _ in range(200):
        found = study(100)
        covered.append(found.mean.low <= truth <= found.mean.high)
        half = 1.96 * found.per_point.std(ddof=1) / np.sqrt(points)
        alone.append(abs(found.mean.estimate - truth) <= half)
    assert np.mean(covered) >= 0.9 > 0.75 > np.mean(alone)


def test_dropped_sets_and_their_effects():
    rng = np.random.default_rng(0)
    scores, labels, classes = rng.normal(size=(4, 40)), np.arange(40) % 2, np.array([0, 1, 0, 1])
    sets = leave_out_sets(scores, 5, labels, classes, rng, embedding=-scores)
    np.testing.assert_array_equal(sets["top"], top_scores(scores, 5).indices)
    np.testing.assert_array_equal(sets["bottom"], sets["embedding"])
    assert (labels[sets["random_same_class"]] == classes[:, None]).all()
    for chosen in sets.values():
        assert all(len(set(row)) == 5 for row in chosen.tolist())
    before = np.ones((3, 4))
    after = {"top": before - 2.0, "random": before + rng.normal(scale=0.01, size=(3, 4))}
    effects = leave_out_effects(before, after)
    assert effects["top"].change.estimate == pytest.approx(-2) and effects["top"].flips == 1
    assert effects["random"].flips == 0
    with pytest.raises(ValueError, match="k=21 points of one class"):
        leave_out_sets(scores, 21, labels, classes, rng)
    with pytest.raises(ValueError, match="not paired"):
        leave_out_effects(before, {"top": before[:, :2]})


@pytest.mark.parametrize("compared", [2**22, 200])
def test_repeated_columns_have_the_ranks_of_a_longer_table(compared, monkeypatch):
    monkeypatch.setattr("analysis.attribution.retraining.COMPARED", compared)
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 4, (5, 9)).astype(float), rng.normal(size=(5, 9))
    second[4] = 1.0  # nothing to rank
    times = rng.multinomial(9, np.full(9, 1 / 9), 6).astype(float)
    found = resampled_correlations(first, second, times)
    for draw, counts in enumerate(times.astype(int)):
        taken = np.repeat(np.arange(9), counts)
        expected = np.nan_to_num(stability(first[:, taken], second[:, taken]))
        np.testing.assert_allclose(found[:, draw], expected, atol=1e-12)
