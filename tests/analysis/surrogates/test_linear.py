"""Classifiers that are linear in kernel rows store one weight row per class and give normalized probabilities."""

import numpy as np
import pytest

from analysis.surrogates.glm import KernelGLM
from analysis.surrogates.ridge import KernelRidgeSurrogate
from analysis.surrogates.svm import KernelSVM


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("surrogate", [KernelGLM(1e-2), KernelSVM(), KernelRidgeSurrogate()], ids=str)
def test_scores_are_read_from_the_stored_weights(surrogate, n_classes):
    x = np.random.default_rng(0).normal(size=(45, 4))
    kernel, names = x[:30] @ x[:30].T, np.array(["cat", "dog", "frog"])[np.arange(30) % n_classes]
    rows = x[30:] @ x[:30].T
    model = surrogate.fit(kernel, names)
    assert model.weights_.shape == (n_classes, 30) and model.offsets_.shape == (n_classes,)
    scores = model.scores(rows)
    np.testing.assert_allclose(scores, rows @ model.weights_.T + model.offsets_, rtol=1e-10)
    np.testing.assert_allclose(model.predict_proba(rows).sum(1), 1)
    np.testing.assert_array_equal(model.predict(rows), model.classes_[scores.argmax(1)])
    decision = model.decision_function(rows)
    assert decision.shape == ((15,) if n_classes == 2 else (15, 3))
    if n_classes == 2:
        np.testing.assert_array_equal(decision > 0, model.predict(rows) == "dog")
