"""Cross-validation of the penalty drops rows and columns together."""

import numpy as np
from sklearn.model_selection import GridSearchCV, StratifiedKFold

from analysis.surrogates.glm import KernelGLM
from analysis.surrogates.glm_cv import KernelGLMCV


def test_cross_validation_drops_rows_and_columns():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(90, 4))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    kernel, y = np.exp(2 * (x @ x.T - 1)), np.minimum(rng.integers(0, 4, 90), 2)  # unbalanced on purpose
    alphas = [1e-3, 1e-2, 1e-1]
    ours = KernelGLMCV(alphas, cv=3, class_weight=None, tol=1e-10).fit(kernel, y)
    folds = StratifiedKFold(3, shuffle=True, random_state=0)
    search = GridSearchCV(
        KernelGLM(class_weight=None, tol=1e-10), {"alpha": alphas}, cv=folds, scoring="neg_log_loss"
    ).fit(kernel, y)
    theirs = -np.stack([search.cv_results_[f"split{f}_test_score"] for f in range(3)])
    np.testing.assert_allclose(ours.cv_loss_[:, ::-1], theirs, rtol=1e-6)
    assert ours.alpha_ == search.best_params_["alpha"]
