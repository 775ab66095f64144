"""Nearest neighbors in a kernel's metric are those of the points themselves."""

import numpy as np
import pytest

from analysis.surrogates.faithfulness import measure_faithfulness
from analysis.surrogates.named_tau import tau
from analysis.surrogates.neighbors import KernelNeighbors
from tests.references import attribution_formulas as reference


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


@pytest.mark.parametrize(("k", "n_classes"), [(10, 2), (10, 3), (7, 5), (12, 10)])
def test_tau_ranks_votes_and_takes_equal_votes_as_ties(k, n_classes):
    """Log-odds of a class grow with its votes alone; the votes themselves have no rounding."""
    rng = np.random.default_rng(n_classes)
    x, test = rng.normal(size=(120, 4)), rng.normal(size=(150, 4))
    y = np.r_[np.arange(n_classes), rng.integers(0, n_classes, 120 - n_classes)]
    network, labels = rng.normal(size=(150, n_classes)), rng.integers(0, n_classes, 150)
    model = KernelNeighbors(k=k).fit(x @ x.T, y)
    votes = (y[model.neighbors(test @ x.T)] == labels[:, None]).sum(1)
    rows = np.arange(150)
    own = network[rows, labels] - np.log(np.exp(network).sum(1) - np.exp(network[rows, labels]))
    slow = reference.kendall_tau_b(own, votes)
    scores = model.log_scores(test @ x.T)
    assert tau(network, scores, labels) == pytest.approx(slow, abs=1e-12)
    found = measure_faithfulness(network, scores, labels, n_resamples=0)
    row = next(one for one in found if (one.metric, one.variant) == ("kendall", "correct"))
    assert row.value == pytest.approx(slow, abs=1e-12)
    assert row.ties == sum((votes == v).sum() for v in set(votes.tolist()) if (votes == v).sum() > 1)
