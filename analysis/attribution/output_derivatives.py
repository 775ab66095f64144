"""First and second derivatives of a loss by a network's outputs, point by point."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class OutputDerivatives:
    """Derivatives of each training point's loss by its own logits.

    Attributes
    ----------
    slopes : ndarray, shape (n, C)
        r_i = ∂ℓ_i/∂f.
    roots : ndarray, shape (n, C, C)
        L_i with L_iL_iᵀ = ∂²ℓ_i/∂f².
    """

    slopes: Float[np.ndarray, "n c"]
    roots: Float[np.ndarray, "n c c"]


def output_derivatives(
    loss: Callable[[Tensor, Tensor], Tensor], logits: Float[np.ndarray, "n c"], targets: Int[np.ndarray, " n"]
) -> OutputDerivatives:
    """Differentiate a mean loss over points twice, at each point alone.

    Parameters
    ----------
    loss : callable
        From logits (1, C) and targets (1,) to the loss of one point, such as :func:`models.loss_named` gives.
    logits : ndarray, shape (n, C)
        Outputs of the network.
    targets : ndarray of int, shape (n,)
        Labels.

    Raises
    ------
    ValueError
        If the loss is not convex in the logits: then H is no Gauss-Newton matrix.

    Examples
    --------
    >>> import numpy as np
    >>> from models import loss_named
    >>> from analysis.attribution.output_derivatives import output_derivatives
    >>> found = output_derivatives(loss_named("cross_entropy"), np.zeros((1, 2)), np.array([0]))
    >>> found.slopes, found.roots[0] @ found.roots[0].T
    (array([[-0.5,  0.5]]), array([[ 0.25, -0.25],
           [-0.25,  0.25]]))
    """
    slopes, curvatures = np.empty(logits.shape), np.empty((*logits.shape, logits.shape[1]))
    for i, (row, target) in enumerate(zip(logits, targets, strict=True)):
        own = torch.tensor(row[None], dtype=torch.float64, requires_grad=True)
        label = torch.as_tensor(target)[None]
        (slope,) = torch.autograd.grad(loss(own, label), own, create_graph=True)
        slopes[i] = slope.detach().numpy()[0]
        for c, entry in enumerate(slope[0]):
            second = torch.autograd.grad(entry, own, retain_graph=True, allow_unused=True)[0]
            curvatures[i, c] = 0.0 if second is None else second.numpy()[0]
    curvatures = (curvatures + curvatures.transpose(0, 2, 1)) / 2
    values, vectors = np.linalg.eigh(curvatures)
    lowest, largest = float(values.min()), float(np.abs(values).max())
    if lowest < -1e-10 * max(largest, 1e-300):
        raise ValueError(
            f"the training loss is not convex in the logits (its second derivative has an eigenvalue of {lowest:.2g}), "
            "so there is no Gauss-Newton matrix: train with cross_entropy, bce or mse, or use another method"
        )
    return OutputDerivatives(slopes, vectors * np.sqrt(values.clip(0))[:, None, :])


def log_odds_slopes(logits: Float[np.ndarray, "m c"], classes: Int[np.ndarray, " m"]) -> Float[np.ndarray, "m c"]:
    """Differentiate the log-odds of a class by the logits: 1 for it, and minus the softmax of the others.

    With one logit, whose sign decides between two classes, it is +1 for class 1 and -1 for class 0.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.attribution.output_derivatives import log_odds_slopes
    >>> log_odds_slopes(np.zeros((1, 3)), np.array([1]))
    array([[-0.5,  1. , -0.5]])
    """
    if logits.shape[1] == 1:
        return np.where(classes == 1, 1.0, -1.0)[:, None]
    others = logits.astype(np.float64)
    rows = np.arange(len(logits))
    others[rows, classes] = -np.inf
    shares = np.exp(others - others.max(1, keepdims=True))
    slopes = -shares / shares.sum(1, keepdims=True)
    slopes[rows, classes] = 1.0
    return slopes
