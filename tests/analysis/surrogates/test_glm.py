"""The kernel GLM reaches the optimum of its stated objective, however the kernel is stored."""

import itertools

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from analysis.surrogates.blocked_kernel import KernelBlocks
from analysis.surrogates.glm import KernelGLM
from tests.references import attribution_formulas as reference

CASES = list(itertools.product(["ovr", "softmax"], ["coefficients", "rkhs"], [2, 3], [None, "balanced"], [False, True]))


def problem(n_classes, n=60, seed=0, dim=4):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, dim))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    y = np.minimum(rng.integers(0, n_classes + 1, n), n_classes - 1)  # unbalanced on purpose
    probabilities = rng.dirichlet(np.ones(n_classes), n)
    return np.exp(2 * (x @ x.T - 1)), y, probabilities


@pytest.mark.parametrize(("formulation", "penalty", "n_classes", "class_weight", "soft"), CASES)
def test_optimum_is_stationary_in_the_reference_objective(formulation, penalty, n_classes, class_weight, soft):
    kernel, y, probabilities = problem(n_classes)
    model = KernelGLM(1e-2, formulation=formulation, penalty=penalty, class_weight=class_weight, tol=1e-12)
    model.fit(kernel, y, probabilities=probabilities if soft else None)
    targets = probabilities if soft else np.eye(n_classes)[y]
    balanced = len(y) / (n_classes * np.bincount(y))
    settings = {
        "class_weight": np.ones(n_classes) if class_weight is None else balanced,
        "formulation": formulation,
        "penalty": penalty,
    }
    rows = slice(1, None) if formulation == "ovr" and n_classes == 2 else slice(None)
    w, b = model.weights_[rows], model.offsets_[rows]

    def objective(weights, intercept):
        return reference.glm_objective(kernel, targets, weights, intercept, 1e-2, **settings)

    at = objective(w, b)
    assert at == pytest.approx(model.report_.objective, rel=1e-12)
    rng = np.random.default_rng(1)
    for _ in range(3):  # central differences along random directions vanish at an optimum
        dw, db = rng.normal(size=w.shape), rng.normal(size=b.shape)
        slope = (objective(w + 1e-5 * dw, b + 1e-5 * db) - objective(w - 1e-5 * dw, b - 1e-5 * db)) / 2e-5
        assert abs(slope) < 1e-7
        assert objective(w + 1e-2 * dw, b + 1e-2 * db) > at


@pytest.mark.parametrize("formulation", ["ovr", "softmax"])
@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("class_weight", [None, "balanced"])
def test_matches_scikit_learn_at_equal_penalty(formulation, n_classes, class_weight):
    kernel, y, _ = problem(n_classes)
    n, alpha = len(y), 3e-3
    ours = KernelGLM(alpha, formulation=formulation, class_weight=class_weight, tol=1e-11).fit(kernel, y)
    options = {"tol": 1e-12, "max_iter": 10000, "solver": "newton-cg"}
    if formulation == "softmax" and n_classes > 2:
        theirs = LogisticRegression(C=1 / (alpha * n), class_weight=class_weight, **options).fit(kernel, y)
        np.testing.assert_allclose(ours.weights_, theirs.coef_, atol=1e-6)
        np.testing.assert_allclose(ours.predict_proba(kernel), theirs.predict_proba(kernel), atol=1e-6)
        return
    # softmax with two classes at alpha is the logistic problem at alpha / 2
    used = alpha / 2 if formulation == "softmax" else alpha
    for c in [1] if n_classes == 2 else range(n_classes):
        weight = {False: 1.0, True: n / (n_classes * (y == c).sum())}
        if n_classes == 2:
            weight[False] = n / (2 * (y == 0).sum())
        theirs = LogisticRegression(C=1 / (used * n), class_weight=weight if class_weight else None, **options)
        theirs.fit(kernel, y == c)
        binary_softmax = formulation == "softmax"
        w = ours.weights_[1] - ours.weights_[0] if binary_softmax else ours.weights_[c]
        b = ours.offsets_[1] - ours.offsets_[0] if binary_softmax else ours.offsets_[c]
        np.testing.assert_allclose(w, theirs.coef_[0], atol=1e-6)
        assert b == pytest.approx(theirs.intercept_[0], abs=1e-6)


@pytest.mark.parametrize("formulation", ["ovr", "softmax"])
def test_infinite_penalty_leaves_the_intercept(formulation):
    kernel, y, _ = problem(3)
    model = KernelGLM(1e8, formulation=formulation, class_weight=None, tol=1e-10).fit(kernel, y)
    np.testing.assert_allclose(model.weights_, 0, atol=1e-7)
    np.testing.assert_allclose(model.predict_proba(kernel)[0], np.bincount(y) / len(y), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("penalty", ["coefficients", "rkhs"])
def test_gap_bounds_the_distance_to_the_optimum(penalty):
    kernel, y, _ = problem(3, n=150)
    best = KernelGLM(1e-3, penalty=penalty, tol=1e-12).fit(kernel, y).report_
    for steps in (1, 2, 3):
        with pytest.warns(ConvergenceWarning, match="loss gap at most"):
            early = KernelGLM(1e-3, penalty=penalty, tol=1e-12, max_iter=steps).fit(kernel, y).report_
        assert not early.converged
        assert early.gap >= early.objective - best.objective - 1e-9  # up to the bias residual
    assert best.converged
    assert best.gap < 1e-15


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_memory_map_in_row_blocks_gives_the_same_weights(tmp_path, dtype):
    kernel, y, _ = problem(3, n=230)
    stored = np.memmap(tmp_path / "kernel.bin", dtype=dtype, mode="w+", shape=kernel.shape)
    stored[:] = kernel
    stored.flush()
    mapped = np.memmap(tmp_path / "kernel.bin", dtype=dtype, mode="r", shape=kernel.shape)
    blocked = KernelGLM(1e-3, tol=1e-5, memory=17 * 230 * mapped.itemsize).fit(mapped, y)
    whole = KernelGLM(1e-3, tol=1e-5).fit(np.asarray(stored), y)
    np.testing.assert_allclose(blocked.weights_, whole.weights_, atol=1e-9 if dtype == np.float64 else 2e-3)
    blocks = KernelBlocks(mapped, memory=17 * 230 * mapped.itemsize)
    assert [part.stop - part.start for part, _ in blocks][:2] == [17, 17]


@pytest.mark.parametrize("seed", [1, 2])
def test_seed_of_the_preconditioner_does_not_move_the_optimum(seed):
    kernel, y, _ = problem(3, n=150)
    first, second = (KernelGLM(1e-3, tol=1e-11, random_state=s).fit(kernel, y) for s in (0, seed))
    np.testing.assert_allclose(first.weights_, second.weights_, atol=1e-8)


def test_duplicated_points_share_their_weight():
    kernel, y, _ = problem(3, n=40)
    twice = np.concatenate([np.arange(40), np.arange(40)])
    for penalty in ("coefficients", "rkhs"):
        model = KernelGLM(1e-2, penalty=penalty, tol=1e-11).fit(kernel[np.ix_(twice, twice)], y[twice])
        np.testing.assert_allclose(model.weights_[:, :40], model.weights_[:, 40:], atol=1e-8)


def test_published_solver_is_scikit_learns_and_needs_a_seed():
    kernel, y, _ = problem(3)
    a, b = (KernelGLM(1e-2, solver="sgd", random_state=7).fit(kernel, y).weights_ for _ in range(2))
    np.testing.assert_array_equal(a, b)
    free = [KernelGLM(1e-2, solver="sgd", random_state=None).fit(kernel, y).weights_ for _ in range(2)]
    assert not np.array_equal(*free)


@pytest.mark.parametrize("penalty", ["coefficients", "rkhs"])
@pytest.mark.parametrize("formulation", ["ovr", "softmax"])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_the_loss_gap_bounds_what_is_left_wherever_the_fit_stops(formulation, penalty):
    """Early stops leave a bias that is not at its optimum, where the weights' gradient alone bounds nothing."""
    rng = np.random.default_rng(1)
    tight = []
    for _ in range(3):
        n, n_classes = int(rng.integers(20, 35)), int(rng.integers(2, 5))
        x = rng.normal(size=(n, int(rng.integers(2, 8))))
        y = np.r_[np.arange(n_classes), rng.integers(0, n_classes, n - n_classes)]
        kernel, alpha = x @ x.T, 10 ** rng.uniform(-3, 0)
        optimum = reference.glm_optimum(kernel, y, alpha, formulation, penalty)
        for steps in (1, 3, 100):
            model = KernelGLM(alpha, formulation=formulation, penalty=penalty, tol=1e-10, max_iter=steps)
            report = model.fit(kernel, y).report_
            left = report.objective - optimum
            assert left <= report.gap + 1e-8 * (1 + optimum)
            tight.append(report.gap if steps == 100 else 0.0)
    assert max(tight) < 1e-8  # and says nothing is left where nothing is
