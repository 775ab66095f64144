"""Retraining without some points judges attributions by its definitions."""

import numpy as np
import pytest

from analysis.attribution.decomposition import top_scores
from analysis.attribution.retraining import (
    leave_out_effects,
    leave_out_sets,
    linear_datamodeling_score,
    noise_ceiling,
    random_subsets,
)


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
    with pytest.raises(ValueError, match="2 subsets"):
        linear_datamodeling_score(effects, subsets[:2], margins[:2], rng=rng)
    with pytest.raises(ValueError, match="strictly between"):
        random_subsets(60, 2, rng, fraction=1.0)


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
    effects = leave_out_effects(before, after, rng=rng, draws=50)
    assert effects["top"].change.estimate == pytest.approx(-2) and effects["top"].flips == 1
    assert effects["random"].flips == 0
    with pytest.raises(ValueError, match="k=21 points of one class"):
        leave_out_sets(scores, 21, labels, classes, rng)
    with pytest.raises(ValueError, match="not paired"):
        leave_out_effects(before, {"top": before[:, :2]}, rng=rng)
