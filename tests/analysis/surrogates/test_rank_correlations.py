"""Rank correlations of confidences: τ with ties, and ties that rounding cannot break."""

import numpy as np
import pytest
from scipy.stats import kendalltau

from analysis.surrogates.rank_correlations import kendall_tau, rounded_ranks, tied_points
from tests.references import attribution_formulas as reference


@pytest.mark.parametrize("seed", range(3))
def test_tau_equals_all_pairs_with_ties_and_ignores_monotone_maps(seed):
    rng = np.random.default_rng(seed)
    x, y = rng.integers(0, 9, 40).astype(float), rng.integers(0, 9, 40).astype(float)
    assert kendall_tau(x[:, None], y[:, None]) == pytest.approx(reference.kendall_tau_b(x, y))
    assert kendall_tau(x[:, None], y[:, None]) == kendalltau(x, y).statistic
    assert kendall_tau(np.exp(x)[:, None], (y**3)[:, None]) == kendall_tau(x[:, None], y[:, None])
    assert tied_points(np.array([[1.0], [2.0], [1.0], [3.0]])) == 2


def test_rounding_breaks_no_tie_and_joins_nothing_else():
    rng = np.random.default_rng(0)
    votes = rng.integers(0, 11, (300, 2)).astype(float) - 5
    noisy = votes + 1e-15 * rng.normal(size=votes.shape)
    np.testing.assert_array_equal(rounded_ranks(noisy), votes + 5)
    values = rng.normal(size=(2000, 1))
    np.testing.assert_array_equal(rounded_ranks(values).ravel(), values.ravel().argsort().argsort())
    assert not rounded_ranks(np.zeros((4, 1))).any() and rounded_ranks(np.zeros((0, 1))).shape == (0, 1)
