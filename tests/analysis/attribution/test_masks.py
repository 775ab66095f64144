"""Masks, subsets and dropped points judge attributions by their definitions."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from analysis.attribution.decomposition import top_scores
from analysis.attribution.masks import expected_hits, flag_quality, flag_tests, rank_mask, stability
from analysis.attribution.retraining import (
    leave_out_effects,
    leave_out_sets,
    linear_datamodeling_score,
    noise_ceiling,
    random_subsets,
)
from tests.references import attribution_formulas as reference


@pytest.mark.parametrize("k", range(1, 7))
def test_ties_are_averaged_over_their_orders(k):
    scores = np.array([2.0, 1.0, 1.0, 1.0, 0.0, 0.0])
    mask = np.array([0, 1, 1, 0, 1, 0], bool)
    assert expected_hits(scores, mask, k) == pytest.approx(reference.hits_over_orders(scores, mask, k))


def test_ranking_of_a_mask():
    rng = np.random.default_rng(0)
    mask = rng.random(500) < 0.1
    perfect = rank_mask(mask + 0.0, mask, ks=[10])
    marked = int(mask.sum())
    assert perfect.precision == {10: 1.0, marked: 1.0} and perfect.recall[10] == pytest.approx(10 / marked)
    assert perfect.auprc == 1 and perfect.roc_auc == 1 and perfect.prevalence == mask.mean()
    constant = rank_mask(np.zeros(500), mask, ks=[50])
    assert constant.precision[50] == pytest.approx(mask.mean()) and constant.roc_auc == pytest.approx(0.5)
    assert constant.auprc == pytest.approx(mask.mean())  # one step; a trapezoid would say about half
    noisy = mask + rng.normal(size=500)
    assert rank_mask(noisy, mask).auprc == average_precision_score(mask, noisy)


@pytest.mark.parametrize("mask", [np.zeros(5, bool), np.ones(5, bool)])
def test_empty_and_full_masks_are_refused_with_counts(mask):
    with pytest.raises(ValueError, match=f"marks {mask.sum()} of 5"):
        rank_mask(np.arange(5.0), mask)
    with pytest.raises(ValueError, match=f"{mask.sum()} of 5 test points"):
        flag_quality(np.ones(5, bool), mask)


def test_bad_scores_and_cutoffs_are_refused():
    mask = np.array([1, 0, 0], bool)
    with pytest.raises(ValueError, match="finite"):
        rank_mask(np.array([1.0, np.nan, 0.0]), mask)
    with pytest.raises(ValueError, match=r"1\.\.3"):
        rank_mask(np.arange(3.0), mask, ks=[4])


def test_flags_follow_the_majority_of_top_points():
    injected = np.array([1, 1, 0, 0, 0], bool)
    top = np.array([[0, 1, 2], [0, 2, 3], [2, 3, 4], [1, 0, 4]])
    flags = flag_tests(top, injected)
    np.testing.assert_array_equal(flags, [True, False, False, True])
    quality = flag_quality(flags, np.array([True, True, False, False]))
    assert quality.precision == 0.5 and quality.recall == 0.5
    assert np.isnan(flag_quality(np.zeros(4, bool), np.array([True, False, False, False])).precision)


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


def test_stability_is_spearman_per_point():
    rng = np.random.default_rng(0)
    a = rng.normal(size=(3, 50))
    np.testing.assert_allclose(stability(a, np.exp(a)), 1)
    np.testing.assert_allclose(stability(a, -a), -1)
    assert np.isnan(stability(a, np.zeros((3, 50)))).all()
