"""Attribution baselines equal their dense formulas and find planted causes."""

import numpy as np
import pytest

from analysis.attribution.exact_influence import exact_influence
from analysis.attribution.representer import refit_representer_head, representer_head, representer_scores
from analysis.attribution.similarity import embedding_scores, random_scores, same_label_scores
from analysis.attribution.tracin import gradient_cosine, tracin_scores, tracin_self_influence
from analysis.attribution.trak import TrakNetwork, trak_scores
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


@pytest.mark.parametrize("n_classes", [2, 3])
def test_representers_sum_to_the_logit(n_classes):
    rng = np.random.default_rng(0)
    h, y = rng.normal(size=(60, 5)), np.arange(60) % n_classes
    head = refit_representer_head(h, y, penalty=1e-2)
    assert head.residual < 1e-6
    test, classes = rng.normal(size=(7, 5)), rng.integers(0, n_classes, 7)
    scores = representer_scores(test, h, head.alphas, classes)
    np.testing.assert_allclose(scores.sum(1), (test @ head.weight.T)[np.arange(7), classes], atol=1e-5)
    assert (head.alphas[np.arange(60), y] > 0).all()  # a point supports its own class


def test_representer_refuses_heads_that_are_not_stationary_or_not_linear():
    rng = np.random.default_rng(0)
    h, y = rng.normal(size=(60, 5)), np.arange(60) % 3
    with pytest.raises(ValueError, match=r"residual .* Refit"):
        representer_head(h, y, rng.normal(size=(3, 5)), 1e-2)
    with pytest.raises(ValueError, match="linear head of shape"):
        representer_head(h, y, rng.normal(size=(3, 9)), 1e-2)
    with pytest.raises(ValueError, match="penalty must be positive"):
        representer_head(h, y, rng.normal(size=(3, 5)), 0.0)


def test_trak_is_its_dense_formula_averaged_over_networks():
    rng = np.random.default_rng(0)
    networks = [TrakNetwork(rng.normal(size=(40, 6)), rng.normal(size=(5, 6)), rng.uniform(size=40)) for _ in range(3)]
    one = trak_scores(networks[:1])
    np.testing.assert_allclose(
        one.scores, reference.trak_one(networks[0].train, networks[0].test, networks[0].probability), rtol=1e-8
    )
    singular = np.linalg.svd(networks[0].train, compute_uv=False)
    assert one.condition[0] == pytest.approx((singular[0] / singular[-1]) ** 2)
    ones = np.zeros(40)
    features = [reference.trak_one(n.train, n.test, ones) for n in networks]
    doubt = np.mean([1 - n.probability for n in networks], axis=0)
    np.testing.assert_allclose(trak_scores(networks).scores, np.mean(features, axis=0) * doubt, rtol=1e-8)


def test_singular_trak_features_need_a_ridge():
    rng = np.random.default_rng(0)
    wide = TrakNetwork(rng.normal(size=(5, 9)), rng.normal(size=(2, 9)), rng.uniform(size=5))
    with pytest.raises(ValueError, match="singular .* pass ridge"):
        trak_scores([wide])
    assert trak_scores([wide], ridge=1e-3).condition[0] > 1e2
    with pytest.raises(ValueError, match="at least one network"):
        trak_scores([])


def test_tracin_sums_gradient_products_along_training():
    rng = np.random.default_rng(0)
    train, test, rates = rng.normal(size=(3, 8, 4)), rng.normal(size=(3, 2, 4)), [0.1, 0.05, 0.01]
    expected = sum(r * b @ a.T for r, a, b in zip(rates, train, test, strict=True))
    np.testing.assert_allclose(tracin_scores((b @ a.T for a, b in zip(train, test, strict=True)), rates), expected)
    own = tracin_self_influence([(a**2).sum(1) for a in train], rates)
    np.testing.assert_allclose(own, sum(r * (a**2).sum(1) for r, a in zip(rates, train, strict=True)))
    for wrong in (rates[:2], [*rates, 1.0]):
        with pytest.raises(ValueError, match="one rate per checkpoint"):
            tracin_scores((b @ a.T for a, b in zip(train, test, strict=True)), wrong)


def test_cosines_guard_zero_gradients():
    train, test = np.array([[3.0, 4.0], [0.0, 0.0]]), np.array([[1.0, 0.0]])
    diagonal = (train**2).sum(1), (test**2).sum(1)
    np.testing.assert_allclose(gradient_cosine(test @ train.T, diagonal[1], diagonal[0]), [[0.6, 0.0]])
    assert np.isnan(gradient_cosine(test @ train.T, diagonal[1], diagonal[0], guard=False)[0, 1])
    np.testing.assert_allclose(embedding_scores(test, train), [[0.6, 0.0]])
    np.testing.assert_allclose(embedding_scores(test, train, "dot"), [[3.0, 0.0]])
    np.testing.assert_allclose(embedding_scores(test, train, "distance"), [[-np.sqrt(20), -1.0]])
    with pytest.raises((ValueError, TypeError)):
        embedding_scores(test, train, "manhattan")


def test_controls():
    a, b = (random_scores(3, 5, np.random.default_rng(0)) for _ in range(2))
    np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(same_label_scores(np.array([1, 0]), np.array([0, 1, 1])), [[0, 1, 1], [1, 0, 0]])


def test_planted_duplicates_score_highest_in_every_method():
    rng = np.random.default_rng(0)
    h, y = rng.normal(size=(80, 10)), np.arange(80) % 2
    test, twins = h[[3, 10, 41]], np.array([3, 10, 41])
    head = refit_representer_head(h, y, penalty=1e-1)
    probability = 1 / (1 + np.exp(-(h @ head.weight.T)))
    error = probability - np.eye(2)[y]
    gradients = (error[:, :, None] * h[:, None, :]).reshape(80, -1)
    uniform = np.full(80, 0.5)
    methods = {
        "tracin": gradient_cosine(
            gradients[twins] @ gradients.T, (gradients[twins] ** 2).sum(1), (gradients**2).sum(1)
        ),
        "trak": trak_scores([TrakNetwork(h, test, uniform)], ridge=1e-3).scores,
        "embedding": embedding_scores(test, h),
    }
    for name, scores in methods.items():
        np.testing.assert_array_equal(scores.argmax(1), twins, err_msg=name)
    whitened = exact_influence(gradients[twins], gradients, gradients, damping=1e-3).scores
    own = np.array([(whitened[row] > whitened[row, twin]).sum() for row, twin in enumerate(twins)])
    assert (own < 4).all()
