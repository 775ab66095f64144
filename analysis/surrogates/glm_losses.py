"""Losses of the kernel generalized linear model as functions of its scores: one-vs-rest and softmax."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import softplus

Formulation = Literal["ovr", "softmax"]


class ScoreLoss:
    """Convex loss of scores S (n x c) with residual `mass * probability(S) - target`.

    Parameters
    ----------
    mass : Tensor, shape (n, c) for one-vs-rest, (n, 1) for softmax
        Total weight of a point, over the number of points.
    target : Tensor, shape (n, c)
        Weighted probability of each class, over the number of points.
    formulation : {"ovr", "softmax"}
        Whether the c columns are independent logistic problems or one multinomial problem.

    Notes
    -----
    With weight P on log σ(s) and Q on log σ(-s), the one-vs-rest loss P softplus(-s) + Q softplus(s) equals
    (P + Q) softplus(s) - P s; the weighted cross-entropy -Σ t log softmax(s) equals (Σ t) logsumexp(s) - t·s.
    Both are therefore `mass * potential(s) - target * s`, and soft targets need no case of their own.
    """

    def __init__(self, mass: Tensor, target: Tensor, formulation: Formulation) -> None:
        self.mass, self.target, self.formulation = mass, target, formulation

    def couple(self, per_class: Float[Tensor, " c"]) -> Float[Tensor, " c"]:
        """Sum over the classes that share one optimization problem, repeated for each of them."""
        return per_class if self.formulation == "ovr" else per_class.sum().expand_as(per_class)

    def value(self, scores: Float[Tensor, "n c"]) -> Float[Tensor, " c"]:
        """Return the loss of each problem."""
        linear = (self.target * scores).sum(0)
        if self.formulation == "ovr":
            return (self.mass * softplus(scores)).sum(0) - linear
        return (self.mass * torch.logsumexp(scores, 1, keepdim=True)).sum().expand_as(linear) - linear.sum()

    def residual(self, scores: Float[Tensor, "r c"], rows: slice = slice(None)) -> Float[Tensor, "r c"]:
        """Return the derivative with respect to the scores of some rows."""
        probability = torch.sigmoid(scores) if self.formulation == "ovr" else torch.softmax(scores, 1)
        return self.mass[rows] * probability - self.target[rows]

    def at(self, scores: Float[Tensor, "n c"]) -> Curvature:
        """Return the second derivative at these scores."""
        return Curvature(self, scores)


class Curvature:
    """Second derivative of a `ScoreLoss`: block diagonal over points, `diagonal` is its c x c diagonal."""

    def __init__(self, loss: ScoreLoss, scores: Float[Tensor, "n c"]) -> None:
        self._softmax = loss.formulation == "softmax"
        self._probability = torch.softmax(scores, 1) if self._softmax else torch.sigmoid(scores)
        self._mass = loss.mass
        self.diagonal: Float[Tensor, "n c"] = self._mass * self._probability * (1 - self._probability)

    def apply(self, change: Float[Tensor, "r c"], rows: slice = slice(None)) -> Float[Tensor, "r c"]:
        """Multiply a change of scores by the second derivative."""
        if not self._softmax:
            return self.diagonal[rows] * change
        p = self._probability[rows]
        return self._mass[rows] * p * (change - (p * change).sum(1, keepdim=True))


def score_loss(
    probabilities: Float[np.ndarray, "n C"],
    class_weight: Float[np.ndarray, " C"],
    formulation: Formulation,
    device: torch.device,
) -> ScoreLoss:
    """Build the loss from target probabilities (one-hot for labels) and class weights.

    One-vs-rest follows scikit-learn's rule: with C > 2 the weight of class c applies to its positives and
    negatives weigh 1; with C = 2 there is one problem (class 1 positive) and both sides are weighted.
    """
    n, n_classes = probabilities.shape
    t = torch.from_numpy(np.ascontiguousarray(probabilities, np.float64)).to(device)
    w = torch.from_numpy(np.ascontiguousarray(class_weight, np.float64)).to(device)
    if formulation == "softmax":
        target = t * w / n
        return ScoreLoss(target.sum(1, keepdim=True), target, formulation)
    positive = t * w if n_classes > 2 else t[:, 1:] * w[1]
    negative = 1 - t if n_classes > 2 else t[:, :1] * w[0]
    return ScoreLoss((positive + negative) / n, positive / n, formulation)
