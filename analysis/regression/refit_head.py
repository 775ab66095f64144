"""Refit the last layer of a frozen network exactly: train, freeze, solve (arXiv 2310.18612's prescription)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float
from scipy import special
from sklearn.linear_model import LogisticRegression

from analysis.checks import class_labels
from analysis.regression.least_squares import factorise_features
from analysis.regression.logistic import fit_feature_logistic

Loss = Literal["squared", "logistic"]


@dataclass(frozen=True)
class RefitHead:
    """A new output layer, ready to be saved in place of the old one.

    Attributes
    ----------
    weight : ndarray, shape (C, p)
    bias : ndarray, shape (C,)
    loss_before, loss_after : float
        Mean training loss of the old head and of this one: mean squared error, or cross-entropy in nats. Without
        cut-off and at λ = 0 the loss cannot rise.
    rank : int
        Directions of the features in use.
    penalty : float
        λ in use.
    converged : bool
    """

    weight: Float[np.ndarray, "C p"]
    bias: Float[np.ndarray, " C"]
    loss_before: float
    loss_after: float
    rank: int
    penalty: float
    converged: bool

    @property
    def change(self) -> float:
        """Training loss after minus before."""
        return self.loss_after - self.loss_before

    def logits(self, features: Float[np.ndarray, "m p"]) -> Float[np.ndarray, "m C"]:
        """Return the outputs of the new head."""
        return features @ self.weight.T + self.bias


def refit_head(
    features: Float[np.ndarray, "n p"],
    targets: np.ndarray,
    weight: Float[np.ndarray, "C p"],
    bias: Float[np.ndarray, " C"],
    *,
    loss: Loss,
    penalty: float = 0.0,
    rank: int | None = None,
) -> RefitHead:
    """Solve the last layer on frozen features, in float64.

    Parameters
    ----------
    features : ndarray, shape (n, p)
        Input of the output layer on the training points; the ones column is added here.
    targets : ndarray, shape (n, C) for squared loss, (n,) class labels for logistic
    weight, bias : ndarray, shape (C, p) and (C,)
        The old head, for the loss before.
    loss : {"squared", "logistic"}
    penalty : float
        λ of Σ loss + (λ/2)‖w‖² (squared: (K + λI)⁻¹). The bias is penalised for squared loss, which is the kernel
        machine of [h; 1], and free for logistic loss.
    rank : int, optional
        Directions kept (squared loss only).

    Returns
    -------
    RefitHead
    """
    features = np.asarray(features, np.float64)
    old = features @ weight.T + bias
    design = np.column_stack([features, np.ones(features.shape[0])])
    if loss == "squared":
        values = np.asarray(targets, np.float64)
        if values.shape != old.shape:
            raise ValueError(f"squared loss wants targets of shape {old.shape}, got {values.shape}.")
        machine = factorise_features(design).solve(values, penalty=penalty, rank=rank)
        solution = machine.weight.T
        before, after = float(np.mean((old - values) ** 2)), float(np.mean((machine.fitted - values) ** 2))
        return RefitHead(solution[:, :-1], solution[:, -1], before, after, machine.rank, penalty, True)
    classes = weight.shape[0]
    labels = class_labels(targets, max(classes, 2))
    if classes <= 2:
        free = np.arange(design.shape[1]) == design.shape[1] - 1
        fit = fit_feature_logistic(design, labels, penalty=penalty, free=free)
        # two logits share the log odds between them
        parts = np.stack([-fit.coefficients, fit.coefficients]) / 2.0 if classes == 2 else fit.coefficients[None]
        new, converged, used, kept = parts, fit.converged, fit.penalty, fit.rank
    else:
        model = LogisticRegression(C=np.inf if penalty == 0 else 1.0 / penalty, tol=1e-8, max_iter=5000)
        model.fit(features, labels)
        new, used = np.column_stack([model.coef_, model.intercept_]), penalty
        converged, kept = bool(model.n_iter_.max() < model.max_iter), int(np.linalg.matrix_rank(features))
    before, after = _cross_entropy(old, labels), _cross_entropy(design @ new.T, labels)
    return RefitHead(new[:, :-1], new[:, -1], before, after, kept, used, converged)


def _cross_entropy(logits: np.ndarray, labels: np.ndarray) -> float:
    if logits.shape[1] == 1:
        return float(np.logaddexp(0.0, np.where(labels > 0, -1.0, 1.0) * logits[:, 0]).mean())
    return float(-special.log_softmax(logits, axis=1)[np.arange(len(labels)), labels].mean())
