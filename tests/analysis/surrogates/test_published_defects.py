"""The published statistics repeat their defects, and nothing but those."""

import numpy as np
import pytest
from scipy.special import expit, log_softmax

from analysis.surrogates.faithfulness import binary_log_scores, explained_variance, kendall_tau, log_odds
from analysis.surrogates.published_defects import one_hot_index_tau, positive_class_tau, r2_over_test_points


def test_published_tau_drops_saturated_points_by_precision():
    output = np.array([-200.0, -3.0, 1.0, 20.0, 200.0])
    single, double = (positive_class_tau(*[expit(output.astype(t))] * 2) for t in (np.float32, np.float64))
    assert (single.dropped, double.dropped) == (3, 1) and single.n + single.dropped == 5
    assert double.tau == 1


def test_published_tau_of_unsaturated_points_ranks_class_1_whatever_the_label():
    rng = np.random.default_rng(0)
    network, surrogate = rng.normal(size=30), rng.normal(size=30)
    found = positive_class_tau(expit(network), expit(surrogate))
    positive = [log_odds(binary_log_scores(s))[:, [1]] for s in (network, surrogate)]
    assert (found.n, found.dropped) == (30, 0)
    assert found.tau == pytest.approx(kendall_tau(*positive))
    true = np.arange(30)[:, None], (np.arange(30) % 2)[:, None]
    correct = [log_odds(binary_log_scores(s))[true] for s in (network, surrogate)]
    assert found.tau != pytest.approx(kendall_tau(*correct))


def test_one_hot_index_reads_columns_0_and_1():
    network, surrogate = np.random.default_rng(0).random((2, 6, 4))
    labels = np.arange(6) % 4
    found = one_hot_index_tau(network, surrogate, labels)
    assert found.n == 24
    swapped = network.copy()
    swapped[:, 2:] = 0  # columns beyond 1 are never read
    assert one_hot_index_tau(swapped, surrogate, labels).tau == found.tau


def test_published_r2_divides_by_the_variance_of_the_fit():
    rng = np.random.default_rng(0)
    network = rng.normal(size=(30, 3))
    surrogate = network + rng.normal(size=(30, 3))
    target, source = (log_softmax(s, axis=0).ravel()[:, None] for s in (network, surrogate))
    r2 = explained_variance(target, source)  # share of the target's variance; residual / variance of the fit = 1/r2 - 1
    published = r2_over_test_points(network, surrogate)
    assert published == pytest.approx(1 - (1 / r2 - 1), abs=1e-3)  # up to where Nelder-Mead stops
    assert r2_over_test_points(network, network) == pytest.approx(1)
