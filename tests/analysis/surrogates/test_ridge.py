"""Kernel ridge regression solves its linear system."""

import numpy as np

from analysis.surrogates.ridge import KernelRidgeSurrogate


def problem(n=60):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 4))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return np.exp(2 * (x @ x.T - 1)), rng.integers(0, 2, n)


def test_ridge_solves_its_system():
    kernel, y = problem()
    ridge = KernelRidgeSurrogate(0.3).fit(kernel, y)
    w, b = ridge.weights_.T, ridge.offsets_
    np.testing.assert_allclose((kernel + 0.3 * np.eye(60)) @ w + b, np.eye(2)[y], atol=1e-10)
    np.testing.assert_allclose(w.sum(0), 0, atol=1e-10)


def test_ridge_without_penalty_passes_through_the_logits():
    kernel, y = problem()
    logits = np.random.default_rng(0).normal(size=(60, 2))
    close = KernelRidgeSurrogate(1e-10).fit(kernel, y, logits=logits)
    np.testing.assert_allclose(close.scores(kernel), logits, atol=1e-4)
