"""Influence with an explicit curvature is the derivative it claims to be, by every solver."""

import numpy as np
import pytest

from analysis.attribution.influence import exact_influence
from tests.references import attribution_formulas as reference


def test_influence_is_the_derivative_in_the_samples_weight():
    """Ridge regression: d loss(x) / d w_i at w = 1, by finite differences of refits."""
    rng = np.random.default_rng(0)
    n, p, damping = 30, 4, 0.1
    x, y = rng.normal(size=(n, p)), rng.normal(size=n)
    x_test, y_test = rng.normal(size=(5, p)), rng.normal(size=5)
    theta = reference.weighted_ridge(x, y, np.ones(n), damping)
    train, test = x * (x @ theta - y)[:, None], x_test * (x_test @ theta - y_test)[:, None]
    found = exact_influence(test, train, x, damping=damping)
    expected = np.empty((5, n))
    for i in range(n):
        change = np.zeros(n)
        change[i] = 1e-5
        losses = [
            0.5 * (x_test @ reference.weighted_ridge(x, y, 1 + s * change, damping) - y_test) ** 2 for s in (1, -1)
        ]
        expected[:, i] = -(losses[0] - losses[1]) / 2e-5 * n  # mean loss: weight ε changes it by ε / n
    np.testing.assert_allclose(found.scores, expected, rtol=1e-6, atol=1e-8)
    assert found.residual < 1e-12


@pytest.mark.parametrize("shape", [(30, 8), (8, 30)])
def test_influence_solvers_agree(shape):
    rng = np.random.default_rng(0)
    root, train, test = rng.normal(size=shape), rng.normal(size=(20, shape[1])), rng.normal(size=(3, shape[1]))
    dense, dual, iterative = (
        exact_influence(test, train, root, damping=1e-2, solver=s).scores for s in ("dense", "dual", "cg")
    )
    np.testing.assert_allclose(dual, dense, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(iterative, dense, rtol=1e-6, atol=1e-6)
    values, vectors = np.linalg.eigh(root.T @ root / 20 + 1e-2 * np.eye(shape[1]))
    whiten = vectors / np.sqrt(values)
    np.testing.assert_allclose((test @ whiten) @ (train @ whiten).T, dense, rtol=1e-9, atol=1e-9)


def test_influence_needs_damping():
    rows = np.ones((3, 2))
    with pytest.raises(ValueError, match="damping must be positive"):
        exact_influence(rows, rows, rows, damping=0.0)
    with pytest.raises((ValueError, TypeError)):
        exact_influence(rows, rows, rows, damping=1.0, solver="lissa")
