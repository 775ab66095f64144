"""Masks judge attributions by their definitions."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from analysis.attribution.masks import expected_hits, flag_quality, flag_tests, rank_mask, stability
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


def test_stability_is_spearman_per_point():
    rng = np.random.default_rng(0)
    a = rng.normal(size=(3, 50))
    np.testing.assert_allclose(stability(a, np.exp(a)), 1)
    np.testing.assert_allclose(stability(a, -a), -1)
    assert np.isnan(stability(a, np.zeros((3, 50)))).all()
