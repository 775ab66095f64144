"""Representer points: a penalized linear head is a sum over training points (arXiv:1811.09720)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression

from analysis.checks import check_every_class, check_finite, class_labels
from kernels.arguments import checked_arguments


@dataclass(frozen=True)
class RepresenterHead:
    """A head W = Σ_i α_i h_iᵀ without bias.

    Attributes
    ----------
    alphas : ndarray, shape (n, C)
        α_ic = -(1/2λn) ∂ℓ_i/∂f_c.
    weight : ndarray, shape (C, p)
        The head itself.
    residual : float
        ‖W - Σ_i α_i h_iᵀ‖ / ‖W‖: 0 exactly where the head is stationary.
    """

    alphas: Float[np.ndarray, "n C"]
    weight: Float[np.ndarray, "C p"]
    residual: float


def representer_head(
    features: Float[np.ndarray, "n p"],
    labels: Int[np.ndarray, " n"],
    weight: Float[np.ndarray, "C _"],
    penalty: float,
    *,
    tolerance: float = 1e-3,
) -> RepresenterHead:
    """Decompose a given head of mean cross-entropy + λ‖W‖².

    Parameters
    ----------
    features : ndarray, shape (n, p)
        Input of the output layer on the training points; append a column of ones for the bias.
    labels : ndarray of int, shape (n,)
        Training labels.
    weight : ndarray, shape (C, p)
        The output layer. It must be linear and the last operation of the network.
    penalty : float
        λ > 0 of the objective.
    tolerance : float
        Largest residual that counts as stationary.

    Raises
    ------
    ValueError
        If the head is not a stationary point: the theorem does not hold for it. Use `refit_representer_head`.
    """
    if not penalty > 0:
        raise ValueError(f"penalty must be positive, got {penalty}: without it the theorem is empty.")
    if weight.ndim != 2 or weight.shape[1] != features.shape[1]:
        raise ValueError(
            f"A linear head of shape (C, {features.shape[1]}) is needed, got {weight.shape}: the theorem covers "
            "an output layer that is linear in these features."
        )
    error = softmax(features @ weight.T, axis=1) - np.eye(weight.shape[0])[labels]
    alphas = -error / (2 * penalty * len(features))
    size = max(float(np.linalg.norm(weight)), float(np.finfo(np.float64).tiny))
    residual = float(np.linalg.norm(weight - alphas.T @ features)) / size
    if residual > tolerance:
        raise ValueError(
            f"The head is not a stationary point of mean cross-entropy + {penalty:g} ‖W‖²: residual {residual:.3g} "
            f"(limit {tolerance:g}). Refit it with refit_representer_head."
        )
    return RepresenterHead(alphas, np.asarray(weight, np.float64), residual)


@checked_arguments
def refit_representer_head(
    features: Float[np.ndarray, "n p"], labels: Int[np.ndarray, " n"], penalty: float
) -> RepresenterHead:
    """Fit the head of mean cross-entropy + λ‖W‖² on frozen features, to stationarity, and decompose it.

    Raises
    ------
    ValueError
        If a feature is not finite, a class has no points or there is only one, or the penalty is not above 0.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.attribution import refit_representer_head
    >>> features = np.random.default_rng(0).normal(size=(30, 2))
    >>> head = refit_representer_head(features, (features[:, 0] > 0).astype(int), penalty=0.01)
    >>> bool(np.allclose(head.alphas.T @ features, head.weight, atol=1e-6))  # the head is a sum over training points
    True
    """
    if not penalty > 0:
        raise ValueError(f"penalty must be positive, got {penalty}: without it the theorem is empty.")
    check_finite(features=features)
    labels = class_labels(labels)
    n_classes = int(labels.max()) + 1
    if n_classes < 2:
        raise ValueError(f"labels has one class for {len(labels)} points: a head needs at least two.")
    check_every_class(labels, n_classes, "the training labels")
    design = np.asarray(features, np.float64)
    # a binary model w is the softmax head -w/2, w/2, whose squared norm is half of w's
    share = 2 if n_classes > 2 else 1
    model = LogisticRegression(
        C=1 / (share * penalty * len(design)), fit_intercept=False, solver="newton-cg", tol=1e-10, max_iter=1000
    ).fit(design, labels)
    weight = model.coef_ if n_classes > 2 else np.vstack([-model.coef_, model.coef_]) / 2
    return representer_head(design, labels, weight, penalty)


@checked_arguments
def representer_scores(
    test: Float[np.ndarray, "m p"],
    train: Float[np.ndarray, "n p"],
    alphas: Float[np.ndarray, "n C"],
    classes: Int[np.ndarray, " m"],
) -> Float[np.ndarray, "m n"]:
    """Score (h·h_i) α_ic for the class of each test point; rows sum to the head's logit.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.attribution import refit_representer_head, representer_scores
    >>> features = np.random.default_rng(0).normal(size=(30, 2))
    >>> head = refit_representer_head(features, (features[:, 0] > 0).astype(int), penalty=0.01)
    >>> test = np.array([[1.0, 0.0]])
    >>> scores = representer_scores(test, features, head.alphas, np.array([1]))
    >>> bool(np.isclose(scores.sum(), head.weight[1] @ test[0], atol=1e-6))  # a row sums to the logit
    True
    """
    check_finite(test=test, train=train, alphas=alphas)
    return (test @ train.T) * alphas[:, class_labels(classes, alphas.shape[1])].T
