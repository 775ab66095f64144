"""Newton's logistic machine: derivatives, reference fits, symmetry, separability, the published protocol."""

import numpy as np
import pytest
from scipy.optimize import approx_fprime, minimize
from sklearn.linear_model import LogisticRegression

from analysis.regression import logistic as kernel_logistic
from analysis.regression.logistic import (
    fit_feature_logistic,
    fit_kernel_logistic,
    fit_published_logistic,
    logistic_path,
)


@pytest.fixture(scope="module")
def problem():
    rng = np.random.default_rng(0)
    features = rng.standard_normal((60, 5))
    labels = np.where(features[:, 0] + 0.8 * rng.standard_normal(60) > 0, 1, -1)
    return features, labels


def test_derivatives_equal_finite_differences(problem):
    features, labels = problem
    gram = features @ features.T
    theta = 0.05 * np.random.default_rng(1).standard_normal(60)
    signs = labels.astype(float)
    gradient, hessian = kernel_logistic._derivatives(gram, gram, signs, theta, 0.3)

    def value(t):
        return kernel_logistic._objective(gram, gram, signs, t, 0.3)

    def slope(t):
        return kernel_logistic._derivatives(gram, gram, signs, t, 0.3)[0]

    np.testing.assert_allclose(approx_fprime(theta, value, 1e-7), gradient, rtol=1e-4, atol=1e-4)
    numeric = np.stack([(slope(theta + 1e-6 * e) - slope(theta - 1e-6 * e)) / 2e-6 for e in np.eye(60)[:4]])
    np.testing.assert_allclose(numeric, hessian[:4], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("penalty", [1e-2, 1.0, 30.0])
def test_features_and_gram_agree_with_a_reference_fit(problem, penalty):
    features, labels = problem
    oracle = LogisticRegression(C=1.0 / penalty, fit_intercept=False, tol=1e-12, max_iter=10_000).fit(features, labels)
    primal = fit_feature_logistic(features, labels, penalty=penalty)
    dual = fit_kernel_logistic(features @ features.T, labels, penalty=penalty)
    assert primal.converged and dual.converged
    expected = oracle.decision_function(features)
    np.testing.assert_allclose(primal.log_odds(features), expected, atol=1e-6)
    np.testing.assert_allclose(dual.log_odds(features @ features.T), primal.log_odds(features), atol=1e-6)


def test_a_free_bias_is_not_penalized(problem):
    features, labels = problem
    design = np.column_stack([features, np.ones(60)])
    fit = fit_feature_logistic(design, labels, penalty=2.0, free=np.arange(6) == 5)
    oracle = LogisticRegression(C=0.5, tol=1e-12, max_iter=10_000).fit(features, labels)
    np.testing.assert_allclose(fit.coefficients, np.append(oracle.coef_, oracle.intercept_), atol=1e-6)


def test_swapping_labels_complements_probabilities(problem):
    features, labels = problem
    gram = features @ features.T
    one = fit_kernel_logistic(gram, labels, penalty=0.1)
    other = fit_kernel_logistic(gram, -labels, penalty=0.1)
    np.testing.assert_allclose(one.probability(gram) + other.probability(gram), 1.0, atol=1e-9)
    zero_one = fit_kernel_logistic(gram, (labels > 0).astype(int), penalty=0.1)
    np.testing.assert_allclose(zero_one.coefficients, one.coefficients)


def test_unpenalized_optimum_on_overlapping_classes(problem):
    features, labels = problem
    fit = fit_feature_logistic(features, labels, penalty=0.0)
    reference = minimize(lambda w: np.logaddexp(0, -labels * (features @ w)).sum(), np.zeros(5), tol=1e-12)
    assert fit.converged and not fit.separable
    np.testing.assert_allclose(fit.coefficients, reference.x, atol=1e-4)


@pytest.mark.parametrize("kernel", [False, True])
def test_separable_data_without_penalty_report_and_name_one(kernel):
    rng = np.random.default_rng(0)
    features = rng.standard_normal((30, 4))
    labels = np.where(features[:, 1] > 0, 1, -1)
    fit = fit_kernel_logistic if kernel else fit_feature_logistic
    with pytest.warns(UserWarning, match="separable, so λ = 0 has no optimum: fitted with λ = "):
        found = fit(features @ features.T if kernel else features, labels, penalty=0.0)
    assert found.separable and found.penalty > 0 and np.isfinite(found.coefficients).all() and found.converged
    published = fit_published_logistic(features @ features.T, labels, generator=np.random.default_rng(0))
    assert published.separable and published.iterations <= 12 and np.isfinite(published.coefficients).all()


def test_published_protocol_reaches_the_optimum_where_there_is_one(problem):
    features, labels = problem
    gram = features @ features.T
    found = fit_published_logistic(gram, labels, generator=np.random.default_rng(0))
    exact = fit_feature_logistic(features, labels, penalty=0.0)
    np.testing.assert_allclose(found.log_odds(gram), exact.log_odds(features), atol=1e-4)
    assert found.rank == 5
    again = fit_published_logistic(gram, labels, generator=np.random.default_rng(0))
    np.testing.assert_array_equal(found.coefficients, again.coefficients)


def test_warm_started_path_equals_single_fits(problem):
    features, labels = problem
    path = logistic_path(features, labels, [0.1, 10.0, 1.0])
    assert [fit.penalty for fit in path] == [10.0, 1.0, 0.1]
    assert path[0].loss > path[1].loss > path[2].loss
    single = fit_feature_logistic(features, labels, penalty=0.1)
    np.testing.assert_allclose(path[-1].log_odds(features), single.log_odds(features), atol=1e-6)


def test_bad_labels_and_kernels_are_refused(problem):
    features, labels = problem
    gram = features @ features.T
    with pytest.raises(ValueError, match="only one class is present: 60 rows of label 1"):
        fit_kernel_logistic(gram, np.ones(60), penalty=1.0)
    with pytest.raises(ValueError, match="±1 or 0/1"):
        fit_feature_logistic(features, np.arange(60), penalty=1.0)
    with pytest.raises(ValueError, match="60 training points but 59 labels"):
        fit_feature_logistic(features, labels[:-1], penalty=1.0)
    with pytest.raises(ValueError, match="λ_min"):
        fit_kernel_logistic(gram - 5 * np.eye(60), labels, penalty=1.0)
    broken = features.copy()
    broken[4] = np.inf
    with pytest.raises(ValueError, match="first row 4"):
        fit_feature_logistic(broken, labels, penalty=1.0)
    with pytest.raises(ValueError, match="not be negative"):
        fit_kernel_logistic(gram, labels, penalty=-1.0)
