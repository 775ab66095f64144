"""Kernels, labels and options that would give wrong numbers silently are refused with their reason."""

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from analysis.surrogates.glm import KernelGLM
from analysis.surrogates.glm_cv import KernelGLMCV
from analysis.surrogates.neighbors import KernelNeighbors
from analysis.surrogates.ridge import KernelRidgeSurrogate
from analysis.surrogates.svm import KernelSVM

ALL = [KernelGLM(), KernelGLMCV(cv=2), KernelSVM(), KernelRidgeSurrogate(), KernelNeighbors()]


def kernel(n=40, seed=0):
    x = np.random.default_rng(seed).normal(size=(n, 6))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return x @ x.T, (x[:, 0] > 0).astype(int)


@pytest.mark.parametrize("surrogate", ALL, ids=lambda s: type(s).__name__)
def test_asymmetric_indefinite_and_nan_kernels_are_refused(surrogate):
    good, y = kernel()
    skewed = good.copy()
    skewed[3, 7] += 1e-3
    with pytest.raises(ValueError, match=r"not symmetric: K\[3, 7\].*TF32"):
        surrogate.fit(skewed, y)
    with pytest.raises(ValueError, match=r"λ_min = -.*Half precision or TF32"):
        surrogate.fit(good - 0.2, y)
    holed = good.copy()
    holed[0, 0] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        surrogate.fit(holed, y)
    with pytest.raises(ValueError, match="square"):
        surrogate.fit(good[:, :-1], y)
    with pytest.raises(ValueError, match="40 features"):
        surrogate.fit(good, y).predict(good[:, :-1])


def test_half_precision_kernel_is_seen_above_the_probe_size():
    x = np.random.default_rng(0).normal(size=(1500, 8))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    coarse = (np.round((x @ x.T) * 256) / 256).astype(np.float32)  # 8 bits, as bf16 keeps
    with pytest.raises(ValueError, match="1024 of 1500 points"):
        KernelRidgeSurrogate().fit(coarse, (x[:, 0] > 0).astype(int))
    KernelRidgeSurrogate().fit((x @ x.T).astype(np.float32), (x[:, 0] > 0).astype(int))


def test_one_class_alone_is_refused():
    good, _ = kernel()
    with pytest.raises(ValueError, match="one class"):
        KernelGLM().fit(good, np.zeros(40, int))


def test_no_convergence_and_separable_data_are_reported():
    good, y = kernel()
    with pytest.warns(ConvergenceWarning, match="loss gap at most"):
        KernelGLM(1e-6, max_iter=1).fit(good, y)
    with pytest.warns(ConvergenceWarning) as caught:
        KernelGLM(0.0, max_iter=60).fit(good + np.eye(40), y)
    assert any("separable" in str(w.message) and "alpha=1e-6" in str(w.message) for w in caught)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": -1.0}, "alpha must be finite"),
        ({"formulation": "probit"}, "formulation must be one of"),
        ({"penalty": "l1"}, "penalty must be one of"),
        ({"solver": "adam"}, "solver must be one of"),
        ({"solver": "sgd", "formulation": "softmax"}, "published fit"),
    ],
)
def test_bad_options_are_refused(options, message):
    good, y = kernel()
    with pytest.raises(ValueError, match=message):
        KernelGLM(**options).fit(good, y)


def test_bad_targets_are_refused():
    good, y = kernel()
    with pytest.raises(ValueError, match="sum to 1"):
        KernelGLM().fit(good, y, probabilities=np.ones((40, 2)))
    with pytest.raises(ValueError, match=r"shape \(40, 2\)"):
        KernelGLM().fit(good, y, probabilities=np.full((40, 3), 1 / 3))
    with pytest.raises(ValueError, match="logits must be finite"):
        KernelRidgeSurrogate().fit(good, y, logits=np.full((40, 2), np.nan))
    with pytest.raises(ValueError, match="alpha must be positive"):
        KernelRidgeSurrogate(0.0).fit(good, y)
    with pytest.raises(ValueError, match="alphas must be positive"):
        KernelGLMCV([0.0, 1.0]).fit(good, y)
    with pytest.raises(ValueError, match="k must be"):
        KernelNeighbors(0).fit(good, y)
    with pytest.raises(ValueError, match="metric must be"):
        KernelNeighbors(metric="cosine").fit(good, y)
