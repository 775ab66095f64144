"""Nearest neighbors in a kernel's metric are those of the points themselves."""

import numpy as np
import pytest

from analysis.surrogates.neighbors import KernelNeighbors


def points(n=40, m=12):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n + m, 5))
    return x[:n], x[n:], rng.integers(0, 3, n)


def test_neighbors_are_the_nearest_points():
    x, test, y = points()
    model = KernelNeighbors(k=7).fit(x @ x.T, y)
    distance = ((test[:, None] - x[None]) ** 2).sum(-1)
    np.testing.assert_array_equal(model.neighbors(test @ x.T), np.argsort(distance, axis=1)[:, :7])
    similar = KernelNeighbors(k=7, metric="similarity").fit(x @ x.T, y)
    np.testing.assert_array_equal(similar.neighbors(test @ x.T), np.argsort(-test @ x.T, axis=1)[:, :7])


def test_both_metrics_agree_on_cosine_kernels():
    x, test, y = points()
    x, test = (part / np.linalg.norm(part, axis=1, keepdims=True) for part in (x, test))
    near, similar = (KernelNeighbors(k=5, metric=m).fit(x @ x.T, y) for m in ("distance", "similarity"))
    np.testing.assert_array_equal(near.neighbors(test @ x.T), similar.neighbors(test @ x.T))


@pytest.mark.parametrize("classes", [np.zeros(12, int), np.arange(12) % 3])
def test_votes_sum_to_the_probability(classes):
    x, test, y = points()
    model = KernelNeighbors(k=7).fit(x @ x.T, y)
    votes = model.attributions(test @ x.T, classes)
    np.testing.assert_allclose(votes.sum(1), model.predict_proba(test @ x.T)[np.arange(12), classes])
    assert ((votes > 0).sum(1) <= 7).all()


def test_a_class_without_votes_keeps_a_finite_log_score():
    x, test, y = points()
    model = KernelNeighbors(k=1).fit(x @ x.T, y)
    scores = model.log_scores(test @ x.T)
    assert np.isfinite(scores).all()
    np.testing.assert_array_equal(model.classes_[scores.argmax(1)], model.predict(test @ x.T))
