"""Attributions add up to the surrogate's logit, by construction and for every surrogate."""

from inspect import unwrap

import numpy as np
import pytest

from analysis.attribution.decomposition import (
    attribute,
    attribute_contrast,
    attribute_layers,
    cumulative_share,
    sparsity,
    top_scores,
)
from analysis.surrogates.glm import KernelGLM
from analysis.surrogates.ridge import KernelRidgeSurrogate
from analysis.surrogates.svm import KernelSVM
from tests.references import attribution_formulas as reference


def data(n_classes=3, n=50, m=20):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n + m, 5))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    parts = {"first": x[:, :2], "second": x[:, 2:]}
    y = np.arange(n) % n_classes
    kernels = {name: p @ p[:n].T for name, p in parts.items()}
    total = sum(kernels.values())
    return total[:n], total[n:], y, {name: k[n:] for name, k in kernels.items()}, rng.integers(0, n_classes, m)


SURROGATES = [
    KernelGLM(1e-3),
    KernelGLM(1e-3, formulation="softmax"),
    KernelGLM(1e-3, penalty="rkhs"),
    KernelSVM(),
    KernelRidgeSurrogate(),
]


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("surrogate", SURROGATES, ids=str)
def test_rows_sum_to_the_logit(surrogate, n_classes):
    train, test, y, parts, classes = data(n_classes)
    model = surrogate.fit(train, y)
    logits = model.scores(test)[np.arange(20), classes]
    scores = attribute(model.weights_, model.offsets_, test, classes)
    np.testing.assert_allclose(scores.sum(1), logits, atol=1e-10)
    bare = attribute(model.weights_, model.offsets_, test, classes, share_offset=False)
    np.testing.assert_allclose(bare.sum(1) + model.offsets_[classes], logits, atol=1e-10)
    layers = attribute_layers(model.weights_, parts, classes)
    np.testing.assert_allclose(sum(layers.values()), bare, atol=1e-12)
    other = (classes + 1) % n_classes
    contrast = attribute_contrast(model.weights_, model.offsets_, test, classes, other)
    np.testing.assert_allclose(
        contrast, -attribute_contrast(model.weights_, model.offsets_, test, other, classes), atol=1e-15
    )
    np.testing.assert_allclose(contrast.sum(1), logits - model.scores(test)[np.arange(20), other], atol=1e-10)


def test_binary_one_vs_rest_gives_class_0_the_negative():
    train, test, y, _, _ = data(2)
    model = KernelGLM(1e-3).fit(train, y)
    zero, one = (attribute(model.weights_, model.offsets_, test, np.full(20, c)) for c in (0, 1))
    np.testing.assert_array_equal(zero, -one)


def test_permuting_training_points_permutes_columns():
    train, test, y, _, classes = data()
    order = np.random.default_rng(1).permutation(len(y))
    first = KernelGLM(1e-3, tol=1e-12).fit(train, y)
    second = KernelGLM(1e-3, tol=1e-12).fit(train[np.ix_(order, order)], y[order])
    a = attribute(first.weights_, first.offsets_, test, classes)
    b = attribute(second.weights_, second.offsets_, test[:, order], classes)
    np.testing.assert_allclose(a[:, order], b, atol=1e-9)


@pytest.mark.parametrize("direction", ["support", "oppose"])
def test_top_k_equals_the_full_sort(direction):
    rng = np.random.default_rng(0)
    weights, offsets = rng.integers(-2, 3, (3, 40)).astype(float), rng.normal(size=3)
    kernel, classes = np.ones((9, 40)), rng.integers(0, 3, 9)  # many ties
    full = attribute(weights, offsets, kernel, classes)
    sign = -1 if direction == "support" else 1
    expected = np.argsort(sign * full, axis=1, kind="stable")[:, :6]
    found = top_scores(full, 6, direction=direction)
    np.testing.assert_array_equal(found.indices, expected)
    np.testing.assert_array_equal(found.scores, np.take_along_axis(full, expected, 1))
    np.testing.assert_array_equal(top_scores(full, 40, direction=direction).indices[:, :6], expected)


def test_sparsity_matches_its_definitions():
    scores = np.random.default_rng(0).standard_t(2, size=(6, 80))
    found = sparsity(scores)
    for row in range(6):
        assert found.gini[row] == pytest.approx(reference.gini(scores[row]))
        for share, counts in found.points.items():
            assert counts[row] == reference.points_for_share(scores[row], share)
    single = np.eye(1, 10)
    assert sparsity(single).gini[0] == pytest.approx(0.9)
    assert sparsity(np.ones((1, 10))).gini[0] == pytest.approx(0.0)
    assert sparsity(np.ones((1, 10))).points[0.5][0] == 5
    np.testing.assert_allclose(cumulative_share(scores)[:, -1], 1)
    assert found.mean_inside_quartiles.dtype == bool


def test_bad_attribution_input():
    weights, offsets = np.ones((2, 5)), np.zeros(2)
    with pytest.raises(ValueError, match="rows are test points"):
        attribute(weights, offsets, np.ones((3, 4)), np.zeros(3, int))
    with pytest.raises(ValueError, match="Classes must be in 0..1"):
        attribute(weights, offsets, np.ones((3, 5)), np.array([0, 1, 2]))
    with pytest.raises(ValueError, match="k must be in 1..5"):
        top_scores(np.ones((3, 5)), 6)
    with pytest.raises(ValueError, match="direction must be 'support' or 'oppose', got 'opose'"):
        unwrap(top_scores)(np.ones((3, 5)), 2, direction="opose")  # as users call it: tests check types before
    with pytest.raises(ValueError, match="all zero"):
        sparsity(np.zeros((2, 5)))
