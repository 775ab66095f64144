"""One-vs-rest linear SVMs (squared hinge, L2) over growing numbers of principal components.

Spaces of k components are nested, so each fit starts from the previous weights padded with zeros. All classes
are solved together by Newton's method: the squared hinge is piecewise quadratic, its generalized Hessian acts
through two products with the data, and the step length is found exactly.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

Scaling = Literal["none", "global", "whitening"]
_CG_STEPS = 60
_NEWTON_STEPS = 60


@dataclass(frozen=True)
class LinearSvm:
    """One-vs-rest decision functions f_c(x) = xᵀw_c + b_c.

    Attributes
    ----------
    weight : Tensor, shape (k, C)
    bias : Tensor, shape (C,)
    converged : bool
        Whether every class reached the gradient tolerance.
    gradient : float
        Largest gradient norm over classes, relative to the one at zero weights.
    """

    weight: Float[Tensor, "k C"]
    bias: Float[Tensor, " C"]
    converged: bool
    gradient: float

    def predict(self, features: Float[Tensor, "m k"]) -> Int[np.ndarray, " m"]:
        """Class with the largest decision function."""
        scores = features @ self.weight + self.bias
        codes: np.ndarray = scores.argmax(dim=1).cpu().numpy().astype(np.int16)
        return codes


def fit_linear_svm(
    features: Float[Tensor, "n k"],
    labels: Int[Tensor, " n"],
    *,
    cost: float,
    start: LinearSvm | None = None,
    tolerance: float = 1e-4,
) -> LinearSvm:
    """Minimize ½‖w_c‖² + C Σ_i max(0, 1 - y_ic f_c(x_i))² for every class at once.

    The bias is not penalized (liblinear penalizes it unless its scaling is large). Newton directions come
    from conjugate gradients with the diagonal preconditioner 1/(1 + 2C Σ_active x²).

    Parameters
    ----------
    features : Tensor, shape (n, k)
        Scores or centered features.
    labels : int Tensor, shape (n,)
        Class codes 0..C-1.
    cost : float
        C, multiplying the sum over rows (scikit-learn's `LinearSVC` convention).
    start : LinearSvm, optional
        Weights to start from; fewer rows than k are padded with zeros.
    tolerance : float
        Stop when every class's gradient norm falls below this share of its norm at zero weights.

    Returns
    -------
    LinearSvm
        With `converged=False` where the tolerance was not met in 60 Newton steps.

    References
    ----------
    Keerthi and DeCoste, JMLR 6 (2005) 341-361: modified finite Newton for squared-hinge SVMs.

    Examples
    --------
    >>> import torch
    >>> from analysis.probes import fit_linear_svm
    >>> features = torch.tensor([[-2.0], [-1.0], [1.0], [2.0]])
    >>> svm = fit_linear_svm(features, torch.tensor([0, 0, 1, 1]), cost=10.0)
    >>> svm.converged, svm.predict(torch.tensor([[-0.5], [0.5]])).tolist()
    (True, [0, 1])
    """
    if cost <= 0:
        raise ValueError(f"the SVM cost C must be positive, got {cost}.")
    n, k = features.shape
    classes = int(labels.max()) + 1
    signs = -torch.ones(n, classes, dtype=features.dtype, device=features.device)
    signs[torch.arange(n, device=features.device), labels.long()] = 1.0
    weight = torch.zeros(k, classes, dtype=features.dtype, device=features.device)
    bias = torch.zeros(classes, dtype=features.dtype, device=features.device)
    if start is not None:
        weight[: start.weight.shape[0]], bias = start.weight, start.bias.clone()
    scale = _gradient(features, signs, torch.zeros_like(signs), torch.zeros_like(weight), cost)[2]
    column_squares = features.square().mean(dim=0)
    fitted = features @ weight + bias
    for _ in range(_NEWTON_STEPS):
        g_weight, g_bias, norm, active = (
            *_gradient(features, signs, fitted, weight, cost),
            signs * fitted < 1.0,
        )
        relative = float((norm / scale).amax())
        if relative <= tolerance:
            break
        mask = active.to(features.dtype)
        d_weight, d_bias = _newton_direction(features, mask, g_weight, g_bias, column_squares, cost, relative)
        along = features @ d_weight + d_bias
        step = _exact_step(signs, fitted, along, weight, d_weight, cost)
        weight, bias, fitted = weight + step * d_weight, bias + step * d_bias, fitted + step * along
    else:
        relative = float((_gradient(features, signs, fitted, weight, cost)[2] / scale).amax())
    return LinearSvm(weight, bias, relative <= tolerance, relative)


def svm_path(
    train: Float[Tensor, "n r"],
    labels: Int[Tensor, " n"],
    ks: Sequence[int],
    *,
    cost: float,
    tolerance: float = 1e-4,
) -> Iterator[LinearSvm]:
    """Fit the SVM on the first k columns for ascending k, each started from the one before.

    Parameters
    ----------
    train : Tensor, shape (n, r)
        Scores, already multiplied by `scaling_factors`.
    labels : int Tensor, shape (n,)
    ks : sequence of int
        Numbers of components, ascending.
    cost, tolerance : float
        As in `fit_linear_svm`.

    Yields
    ------
    LinearSvm
        One per entry of `ks`.
    """
    fit: LinearSvm | None = None
    for k in ks:
        fit = fit_linear_svm(train[:, :k], labels, cost=cost, start=fit, tolerance=tolerance)
        yield fit


def scaling_factors(variances: Float[Tensor, " r"], total_variance: float, scaling: Scaling) -> Float[Tensor, " r"]:
    """Multipliers of the score columns: none (1), global (1/√total variance) or whitening (1/√λ_j)."""
    if scaling == "none":
        return torch.ones_like(variances)
    if scaling == "global":
        return torch.full_like(variances, total_variance**-0.5)
    return variances.rsqrt()


def choose_cost(
    train: Float[Tensor, "n k"],
    labels: Int[Tensor, " n"],
    costs: Sequence[float],
    *,
    generator: np.random.Generator,
    holdout: float = 0.1,
    tolerance: float = 1e-3,
) -> tuple[float, Float[np.ndarray, " costs"]]:
    """Choose C by accuracy on a part held out of the *training* rows, never on test rows.

    Ascending costs are warm-started; ties go to the smaller cost.

    Parameters
    ----------
    train : Tensor, shape (n, k)
    labels : int Tensor, shape (n,)
    costs : sequence of float
    generator : numpy Generator
        Draws the split.
    holdout : float
        Share of rows held out; 0.1 is 45k/5k of CIFAR-10.

    Returns
    -------
    cost : float
    accuracy : ndarray, shape (len(costs),)
        Held-out accuracies in the order of `costs`.
    """
    order = torch.as_tensor(generator.permutation(train.shape[0]), device=train.device)
    held = max(1, int(round(holdout * train.shape[0])))
    inside, outside = order[held:], order[:held]
    truth = labels[outside].cpu().numpy()
    accuracy = np.empty(len(costs))
    fit: LinearSvm | None = None
    for index in np.argsort(costs, kind="stable"):
        fit = fit_linear_svm(train[inside], labels[inside], cost=float(costs[index]), start=fit, tolerance=tolerance)
        accuracy[index] = np.mean(fit.predict(train[outside]) == truth)
    best = min(range(len(costs)), key=lambda index: (-accuracy[index], costs[index]))
    return float(costs[best]), accuracy


def _gradient(
    features: Tensor, signs: Tensor, fitted: Tensor, weight: Tensor, cost: float
) -> tuple[Tensor, Tensor, Tensor]:
    pull = -2.0 * cost * signs * (1.0 - signs * fitted).clamp_min_(0.0)
    g_weight, g_bias = weight + features.T @ pull, pull.sum(dim=0)
    return g_weight, g_bias, (g_weight.square().sum(dim=0) + g_bias.square()).sqrt()


def _newton_direction(
    features: Tensor,
    mask: Tensor,
    g_weight: Tensor,
    g_bias: Tensor,
    column_squares: Tensor,
    cost: float,
    relative: float,
) -> tuple[Tensor, Tensor]:
    counts = mask.sum(dim=0).clamp_min(1.0)
    scale_w, scale_b = (
        1.0 / (1.0 + 2.0 * cost * counts * column_squares[:, None]),
        1.0 / (2.0 * cost * counts),
    )
    d_weight, d_bias = torch.zeros_like(g_weight), torch.zeros_like(g_bias)
    r_weight, r_bias = -g_weight, -g_bias
    z_weight, z_bias = scale_w * r_weight, scale_b * r_bias
    p_weight, p_bias = z_weight, z_bias
    energy = (r_weight * z_weight).sum(dim=0) + r_bias * z_bias
    # superlinear forcing: solve loosely while far from the optimum
    goal = energy * min(0.1, relative) ** 2
    for _ in range(_CG_STEPS):
        image = 2.0 * cost * mask * (features @ p_weight + p_bias)
        h_weight, h_bias = p_weight + features.T @ image, image.sum(dim=0)
        curvature = (p_weight * h_weight).sum(dim=0) + p_bias * h_bias
        alpha = torch.where(energy > goal, energy / curvature.clamp_min(1e-30), torch.zeros_like(energy))
        d_weight, d_bias = d_weight + alpha * p_weight, d_bias + alpha * p_bias
        r_weight, r_bias = r_weight - alpha * h_weight, r_bias - alpha * h_bias
        z_weight, z_bias = scale_w * r_weight, scale_b * r_bias
        fresh = (r_weight * z_weight).sum(dim=0) + r_bias * z_bias
        if bool((fresh <= goal).all()):
            break
        beta = fresh / energy.clamp_min(1e-30)
        p_weight, p_bias, energy = z_weight + beta * p_weight, z_bias + beta * p_bias, fresh
    return d_weight, d_bias


def _exact_step(signs: Tensor, fitted: Tensor, along: Tensor, weight: Tensor, direction: Tensor, cost: float) -> Tensor:
    slope_w, curve_w = (weight * direction).sum(dim=0), direction.square().sum(dim=0)
    margin, rate = 1.0 - signs * fitted, signs * along
    step = torch.ones_like(slope_w)
    low, high = torch.zeros_like(step), torch.full_like(step, torch.inf)
    for _ in range(20):
        left = (margin - step * rate).clamp_min(0.0)
        slope = slope_w + step * curve_w - 2.0 * cost * (left * rate).sum(dim=0)
        curve = curve_w + 2.0 * cost * (rate.square() * (left > 0)).sum(dim=0)
        low, high = torch.where(slope < 0, step, low), torch.where(slope >= 0, step, high)
        fresh = step - slope / curve.clamp_min(1e-30)
        middle = torch.where(high.isinf(), 2.0 * low + 1e-3, 0.5 * (low + high))
        fresh = torch.where((fresh > low) & (fresh < high), fresh, middle)
        if bool(((fresh - step).abs() <= 1e-6 * (1.0 + step)).all()):
            return fresh
        step = fresh
    return step
