"""The support vector machine is scikit-learn's, with probabilities that agree with its decisions."""

import numpy as np
from sklearn.svm import SVC

from analysis.surrogates.svm import KernelSVM


def problem(n=60):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 4))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return np.exp(2 * (x @ x.T - 1)), rng.integers(0, 2, n)


def test_svm_is_scikit_learns():
    kernel, y = problem()
    svm, theirs = KernelSVM().fit(kernel, y), SVC(kernel="precomputed").fit(kernel, y)
    np.testing.assert_allclose(svm.decision_function(kernel), theirs.decision_function(kernel), atol=1e-10)
    assert (svm.predict_proba(kernel).argmax(1) == svm.predict(kernel)).all()
