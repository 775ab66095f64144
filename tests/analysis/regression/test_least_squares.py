"""Primal, dual and SVD agree; leave-one-out equals refits; cut-offs, ranks and floors are stated."""

import numpy as np
import pytest

from analysis.regression.least_squares import factorize_blocks, factorize_features, factorize_gram


@pytest.fixture
def problem():
    rng = np.random.default_rng(0)
    features = rng.standard_normal((40, 12)) * np.geomspace(1, 1e-2, 12)
    targets = np.column_stack([np.sin(features[:, 0] * 3), features[:, 1] + 0.1 * rng.standard_normal(40)])
    test = rng.standard_normal((9, 12)) * np.geomspace(1, 1e-2, 12)
    return features, targets, test


@pytest.mark.parametrize("penalty", [1e-4, 1e-2, 10.0])
@pytest.mark.parametrize("center", [False, True])
def test_primal_dual_and_svd_agree(problem, penalty, center):
    x, y, test = problem
    offset = y.mean(0) if center else 0.0
    primal = test @ np.linalg.solve(x.T @ x + penalty * np.eye(12), x.T @ (y - offset)) + offset
    features = factorize_features(x).solve(y, penalty=penalty, center=center)
    gram = factorize_gram(x @ x.T).solve(y, penalty=penalty, center=center, cutoff=0.0)
    blocks = factorize_blocks(lambda: iter(np.array_split(x, 4))).solve(y, penalty=penalty, center=center)
    np.testing.assert_allclose(features.predict(test), primal, atol=1e-10)
    np.testing.assert_allclose(gram.predict(test @ x.T), primal, atol=1e-8)
    np.testing.assert_allclose(blocks.predict(test), primal, atol=1e-8)
    np.testing.assert_allclose(features.fitted, features.predict(x), atol=1e-10)


@pytest.mark.parametrize("route", ["features", "gram"])
def test_full_rank_interpolates_and_reproduces_shared_points(route):
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((20, 30)), rng.standard_normal((20, 1))
    found = factorize_features(x) if route == "features" else factorize_gram(x @ x.T)
    machine = found.solve(y)
    assert machine.rank == 20 and np.abs(machine.fitted - y).max() <= 1e-8
    shared = x[3:6] if route == "features" else x[3:6] @ x.T
    np.testing.assert_allclose(machine.predict(shared), y[3:6], atol=1e-8)


def test_large_penalty_gives_zero_or_the_mean(problem):
    x, y, test = problem
    found = factorize_features(x)
    assert np.abs(found.solve(y, penalty=1e14).predict(test)).max() < 1e-8
    expected = np.broadcast_to(y.mean(0), (9, 2))
    np.testing.assert_allclose(found.solve(y, penalty=1e14, center=True).predict(test), expected, atol=1e-8)


def test_scaling_the_kernel_leaves_unpenalized_answers(problem):
    x, y, test = problem
    one = factorize_gram(x @ x.T).solve(y).predict(test @ x.T)
    other = factorize_gram(1e3 * x @ x.T).solve(y).predict(1e3 * test @ x.T)
    np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.parametrize("penalty", [1e-3, 0.1, 5.0])
def test_ridge_leave_one_out_equals_refits(problem, penalty):
    x, y, _ = problem
    misses = []
    for i in range(40):
        keep = np.arange(40) != i
        w = np.linalg.solve(x[keep].T @ x[keep] + penalty * np.eye(12), x[keep].T @ y[keep])
        misses.append(y[i] - x[i] @ w)
    path = factorize_features(x).penalty_path(y, [penalty])
    assert path.loo[0] == pytest.approx(np.sqrt(np.mean(np.square(misses))), rel=1e-8)
    hat = x @ np.linalg.solve(x.T @ x + penalty * np.eye(12), x.T)
    free = np.eye(40) - hat
    assert path.gcv[0] == pytest.approx(40 * np.sum((free @ y) ** 2) / np.trace(free) ** 2, rel=1e-8)
    assert path.dimension[0] == pytest.approx(np.trace(hat), rel=1e-8)


def test_rank_path_equals_projections(problem):
    x, y, _ = problem
    found = factorize_features(x)
    path = found.rank_path(y, [2, 5, 12])
    for i, r in enumerate((2, 5, 12)):
        hat = found.left[:, :r] @ found.left[:, :r].T
        loo = (y - hat @ y) / (1 - np.diag(hat))[:, None]
        assert path.loo[i] == pytest.approx(np.sqrt(np.mean(loo**2)), rel=1e-10)
        assert path.train[i] == pytest.approx(np.sqrt(np.mean((y - hat @ y) ** 2)), rel=1e-10)
    assert path.best("loo") in (2, 5, 12) and path.best("gcv") in (2, 5, 12)


def test_rank_choice_beats_a_blind_cutoff():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((60, 50)) * np.geomspace(1, 1e-9, 50)
    truth = x[:, :3] @ np.array([[1.0], [2.0], [0.5]])
    test = rng.standard_normal((30, 50)) * np.geomspace(1, 1e-9, 50) + 1e-6
    found = factorize_features(x)
    y = truth + 1e-3 * rng.standard_normal((60, 1))
    chosen = found.solve(y, rank=int(found.rank_path(y).best()))
    goal = test[:, :3] @ np.array([[1.0], [2.0], [0.5]])
    blind, careful = (np.abs(m.predict(test) - goal).max() for m in (found.solve(y), chosen))
    assert careful < 0.05 and blind > 20 * careful


def test_points_with_leverage_one_are_skipped_and_counted():
    x = np.vstack([np.diag([5.0, 4.0]), np.zeros((4, 2))])
    y = np.arange(6.0)[:, None]
    path = factorize_features(x).rank_path(y, [1, 2])
    assert path.skipped.tolist() == [1, 2] and np.isfinite(path.loo).all()
    full = factorize_features(np.eye(4)).rank_path(np.arange(4.0)[:, None], [4])
    assert np.isinf(full.loo[0])
    with pytest.raises(ValueError, match="leverage one"):
        full.best()


def test_rank_and_cutoff_are_stated():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((30, 4)) @ rng.standard_normal((4, 10))
    y = rng.standard_normal((30, 1))
    found = factorize_gram(x @ x.T)
    machine = found.solve(y)
    assert machine.rank == 4 and machine.cutoff == pytest.approx(30 * 2.0**-52)
    assert factorize_features(x).rank() == 4
    with pytest.raises(ValueError, match="rank 7 requested, numerical rank is 4"):
        found.solve(y, rank=7)


def test_equal_points_with_different_targets_warn_with_the_floor():
    x = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.5, 0.5]])
    y = np.array([[0.0], [2.0], [1.0], [1.0]])
    for found in (factorize_features(x), factorize_gram(x @ x.T)):
        with pytest.warns(UserWarning, match="residual below 0.707"):
            found.solve(y)
    factorize_features(x).solve(y, penalty=0.1)


def test_bad_kernels_features_and_targets_are_refused(problem):
    x, y, test = problem
    broken = x.copy()
    broken[[3, 8], 0] = np.nan
    with pytest.raises(ValueError, match="final norm: 2 rows hold NaN or infinity, first row 3"):
        factorize_features(broken, layer="final norm")
    with pytest.raises(ValueError, match="first row 8"):
        broken[3] = 0.0
        factorize_blocks(lambda: iter(np.array_split(broken, 7)))
    with pytest.raises(ValueError, match="not symmetric"):
        factorize_gram(x @ x.T + np.triu(np.ones((40, 40))))
    with pytest.raises(ValueError, match="λ_min"):
        factorize_gram(x @ x.T - 0.5 * np.eye(40))
    found = factorize_features(x)
    with pytest.raises(ValueError, match=r"target 0 is constant \(3 in all 40 rows\)"):
        found.solve(np.full((40, 1), 3.0))
    with pytest.raises(ValueError, match="40 training points but 39 targets"):
        found.solve(y[:-1])
    with pytest.raises(ValueError, match="not be negative"):
        found.solve(y, penalty=-1.0)
    with pytest.raises(ValueError, match="takes features of width 12, got 11"):
        found.solve(y).predict(test[:, :11])
    with pytest.raises(ValueError, match="positive penalties"):
        found.penalty_path(y, [0.0])
