"""Classifier tests: batched logistic fits, honest penalties, AUC interval."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from analysis.shift.classifier_test import (
    auc_interval,
    batched_logistic,
    cross_validated_classifier_test,
    fit_and_score,
    split_classifier_test,
    standardized,
)
from tests.references import two_sample as reference


@pytest.mark.parametrize("penalty", [0.3, 10.0, 300.0])
def test_batched_fits_equal_single_ones(penalty):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((80, 7)) @ np.diag(np.geomspace(3, 0.3, 7))
    signs = np.where(rng.random((80, 4)) < 0.5, 1.0, -1.0)
    signs[:, 0] = np.where(x[:, 0] + 0.5 * rng.standard_normal(80) > 0, 1.0, -1.0)
    theta = batched_logistic(x, signs, penalty, tolerance=1e-9, iterations=5000)
    for column in range(4):
        np.testing.assert_allclose(theta[:, column], reference.logistic(x, signs[:, column], penalty), atol=1e-5)


def test_penalty_is_chosen_for_each_column():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((120, 5))
    signs = np.stack([np.where(3 * x[:, 0] > rng.standard_normal(120), 1.0, -1.0), rng.choice([-1.0, 1.0], 120)], 1)
    _, chosen = fit_and_score(x, signs, x[:3], (0.1, 1e4), np.arange(120) % 5)
    assert chosen.tolist() == [0.1, 1e4]
    with pytest.raises(ValueError, match="penalties must be positive"):
        fit_and_score(x, signs, x[:3], (0.0,), np.arange(120) % 5)


def test_auc_and_its_interval():
    rng = np.random.default_rng(0)
    positive, negative = rng.standard_normal(60) + 1, np.round(rng.standard_normal(80), 1)
    auc, low, high = auc_interval(positive, negative)
    truth = np.repeat([1, 0], [60, 80])
    assert auc == pytest.approx(roc_auc_score(truth, np.concatenate([positive, negative])))
    draws = [auc_interval(positive[rng.integers(0, 60, 60)], negative[rng.integers(0, 80, 80)])[0] for _ in range(400)]
    assert (high - low) / 2 / 1.96 == pytest.approx(np.std(draws), rel=0.2)


@pytest.mark.parametrize("test", [split_classifier_test, cross_validated_classifier_test])
def test_detects_a_shift_and_not_its_absence(test):
    rng = np.random.default_rng(2)
    a, b = rng.standard_normal((90, 5)), rng.standard_normal((90, 5))
    options = {} if test is split_classifier_test else {"draws": 39}
    moved = test(a, b + 0.8, generator=np.random.default_rng(0), **options)
    assert moved.rejects() and moved.statistic > 0.7
    assert not test(a, b, generator=np.random.default_rng(0), **options).rejects()
    again = test(a, b + 0.8, generator=np.random.default_rng(0), **options)
    assert again.p_value == moved.p_value and again.statistic == moved.statistic


def test_typical_rows_are_the_most_separable_ones():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((60, 3)), rng.standard_normal((60, 3))
    b[:10, 0] += 8.0
    found = cross_validated_classifier_test(a, b, generator=rng, draws=1)
    assert set(found.detail["typical_b"]) <= set(range(10))


def test_unbalanced_sides_are_judged_against_the_larger_share():
    rng = np.random.default_rng(0)
    found = split_classifier_test(rng.standard_normal((160, 3)), rng.standard_normal((40, 3)), generator=rng)
    assert found.p_value > 0.05


def test_whole_groups_share_a_fold_and_constant_columns_pass():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(20), 4)
    x = np.column_stack([rng.standard_normal((80, 2)), np.full(80, 3.3)])
    found = cross_validated_classifier_test(x[:40], x[40:], generator=rng, draws=19, groups=groups)
    assert 0 < found.p_value <= 1 and "groups" in found.notes[-1]
    scaled, _ = standardized(x, x)
    assert np.abs(scaled[:, 2]).max() < 1e-9


def test_tiny_samples_cannot_be_split():
    with pytest.raises(ValueError, match="four rows a side"):
        split_classifier_test(np.zeros((3, 2)), np.zeros((9, 2)), generator=np.random.default_rng(0))
