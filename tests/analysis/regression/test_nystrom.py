"""Kernel logistic regression on Nyström centers against dense Newton on the same objective."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from analysis.regression.logistic import fit_feature_logistic, fit_kernel_logistic
from analysis.regression.nystrom import choose_centers, fit_nystrom_logistic


@pytest.fixture(scope="module")
def problem():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((300, 2))
    labels = (x[:, 0] + 0.5 * np.sin(3 * x[:, 1]) + 0.5 * rng.standard_normal(300) > 0).astype(int)
    return np.exp(-cdist(x, x, "sqeuclidean") / 2), labels


@pytest.mark.parametrize("penalty", [1e-3, 0.1, 10.0])
def test_all_points_as_centers_give_the_exact_machine(problem, penalty):
    gram, labels = problem
    exact = fit_kernel_logistic(gram, labels, penalty=penalty)
    found = fit_nystrom_logistic(gram, np.arange(300), labels, penalty=penalty)
    assert found.converged and exact.converged
    np.testing.assert_allclose(found.log_odds(gram), exact.log_odds(gram), atol=1e-4)
    assert found.loss == pytest.approx(exact.loss, abs=1e-7)


@pytest.mark.parametrize("penalty", [1e-3, 1.0])
def test_few_centers_minimize_the_same_objective_as_dense_newton(problem, penalty):
    gram, labels = problem
    centers = choose_centers(300, 40, np.random.default_rng(1))
    found = fit_nystrom_logistic(gram[:, centers], centers, labels, penalty=penalty)
    values, vectors = np.linalg.eigh(gram[np.ix_(centers, centers)])
    kept = values > 1e-11 * values[-1]
    features = gram[:, centers] @ (vectors[:, kept] / np.sqrt(values[kept]))
    dense = fit_feature_logistic(features, labels, penalty=penalty)
    np.testing.assert_allclose(found.log_odds(gram[:, centers]), dense.log_odds(features), atol=1e-3)
    assert found.converged and found.loss == pytest.approx(dense.loss, abs=1e-6)


def test_the_preconditioner_keeps_the_steps_few(problem):
    gram, labels = problem
    centers = choose_centers(300, 60, np.random.default_rng(2))
    found = fit_nystrom_logistic(gram[:, centers], centers, labels, penalty=1e-3)
    # without it the condition number asks for hundreds of steps each
    assert found.products <= 40 * found.iterations


def test_equal_centers_and_swapped_labels(problem):
    gram, labels = problem
    twice = np.array([5, 5, 9, 40, 77])
    found = fit_nystrom_logistic(gram[:, twice], twice, labels, penalty=0.1)
    swapped = fit_nystrom_logistic(gram[:, twice], twice, 1 - labels, penalty=0.1)
    np.testing.assert_allclose(found.log_odds(gram[:, twice]), -swapped.log_odds(gram[:, twice]), atol=1e-6)


def test_bad_input_is_named(problem):
    gram, labels = problem
    with pytest.raises(ValueError, match="penalty λ > 0"):
        fit_nystrom_logistic(gram, np.arange(300), labels, penalty=0.0)
    with pytest.raises(ValueError, match="301 Nyström centers requested from 300"):
        choose_centers(300, 301, np.random.default_rng(0))
    with pytest.raises(ValueError, match="only one class"):
        fit_nystrom_logistic(gram, np.arange(300), np.ones(300), penalty=1.0)
    broken = gram.copy()
    broken[7, 3] = np.nan
    with pytest.raises(ValueError, match="first row 7"):
        fit_nystrom_logistic(broken, np.arange(300), labels, penalty=1.0)
