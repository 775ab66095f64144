"""The batched Newton SVM reaches the optimum of the squared hinge, cold or warm."""

import numpy as np
import pytest
import torch
from sklearn.svm import LinearSVC

from analysis.probes.linear_svm import choose_cost, fit_linear_svm, scaling_factors, svm_path
from tests.references import layer_probes as reference


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 150)
    features = rng.standard_normal((3, 8))[labels] + rng.standard_normal((150, 8)) * np.linspace(2, 0.3, 8)
    return features, labels


@pytest.mark.parametrize("cost", [1e-3, 0.1, 10.0])
def test_weights_equal_a_general_purpose_optimizer(data, cost):
    features, labels = data
    fit = fit_linear_svm(torch.from_numpy(features), torch.as_tensor(labels), cost=cost, tolerance=1e-9)
    assert fit.converged
    for c in range(3):
        theta, _ = reference.squared_hinge(features, np.where(labels == c, 1.0, -1.0), cost)
        np.testing.assert_allclose(fit.weight[:, c].numpy(), theta[:8], atol=2e-5)
        assert float(fit.bias[c]) == pytest.approx(theta[8], abs=2e-5)


def test_predictions_equal_liblinear(data):
    features, labels = data
    fit = fit_linear_svm(torch.from_numpy(features), torch.as_tensor(labels), cost=0.1)
    oracle = LinearSVC(C=0.1, dual=False, intercept_scaling=1e3, tol=1e-8, max_iter=100_000).fit(features, labels)
    assert np.mean(fit.predict(torch.from_numpy(features)) == oracle.predict(features)) == 1.0


def test_warm_started_path_equals_cold_fits(data):
    features, labels = torch.from_numpy(data[0]), torch.as_tensor(data[1])
    ks = [1, 3, 8]
    for k, warm in zip(ks, svm_path(features, labels, ks, cost=1.0, tolerance=1e-8), strict=True):
        cold = fit_linear_svm(features[:, :k], labels, cost=1.0, tolerance=1e-8)
        np.testing.assert_allclose(warm.weight.numpy(), cold.weight.numpy(), atol=1e-5)


@pytest.mark.slow
def test_an_unreachable_tolerance_is_flagged_not_hidden(data):
    fit = fit_linear_svm(torch.from_numpy(data[0]).float(), torch.as_tensor(data[1]), cost=1.0, tolerance=1e-12)
    assert not fit.converged and fit.gradient > 1e-12


def test_cost_is_chosen_inside_the_training_rows(data):
    features, labels = torch.from_numpy(data[0]), torch.as_tensor(data[1])
    cost, accuracy = choose_cost(features, labels, [1e-6, 0.1], generator=np.random.default_rng(0), holdout=0.3)
    assert cost in (1e-6, 0.1) and accuracy.shape == (2,)
    again, _ = choose_cost(features, labels, [0.1, 1e-6], generator=np.random.default_rng(0), holdout=0.3)
    assert again == cost
    with pytest.raises(ValueError, match="must be positive"):
        fit_linear_svm(features, labels, cost=0.0)


def test_scalings():
    variances = torch.tensor([4.0, 1.0])
    assert scaling_factors(variances, 5.0, "none").tolist() == [1.0, 1.0]
    assert scaling_factors(variances, 16.0, "global").tolist() == [0.25, 0.25]
    assert scaling_factors(variances, 5.0, "whitening").tolist() == [0.5, 1.0]
