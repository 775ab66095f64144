"""Kernel logistic regression on many points: Nyström centers, Newton's method, preconditioned conjugate gradients.

The machine is f(x) = Σ_j β_j k(x, c_j) over M centers; with K_MM = TᵀT and θ = Tβ it minimizes

    Σ_i log(1 + exp(-y_i φ_iᵀθ)) + (λ/2) ‖θ‖²,   φ_i = T⁻ᵀ k(c, x_i),

so no n x n matrix and no Hessian is ever formed. Each Newton system (ΦᵀDΦ + λI) p = g is solved by conjugate
gradients; its preconditioner is the same matrix with the sum over n rows replaced by (n/M) times the one over the
centers, which makes the number of steps nearly independent of n.

References
----------
Rudi, Carratino and Rosasco, arXiv 1705.10958 (the preconditioner); Marteau-Ferey, Bach and Rudi, arXiv 1907.01771
(Newton steps and a falling sequence of penalties for the logistic loss).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy import linalg

from analysis.checks import check_training_kernel
from analysis.regression.newton import binary_signs, halved_step, logistic_pull, refuse_non_finite

EPS = float(np.finfo(np.float64).eps)
_PATH = 10.0
"""Factor between two penalties of the sequence that ends at the requested one."""


@dataclass(frozen=True)
class NystromFit:
    """A fitted machine.

    Attributes
    ----------
    coefficients : ndarray, shape (M,)
        β, one for each center.
    penalty : float
        λ.
    converged : bool
        Whether the gradient tolerance was met.
    iterations, products : int
        Newton steps, and conjugate-gradient steps over all of them: each costs two products with n x M features.
    gradient : float
        Largest entry of the gradient in θ.
    loss : float
        Mean logistic loss on the training points, without penalty, in nats.
    """

    coefficients: Float[np.ndarray, " M"]
    penalty: float
    converged: bool
    iterations: int
    products: int
    gradient: float
    loss: float

    def log_odds(self, points: Float[np.ndarray, "m M"]) -> Float[np.ndarray, " m"]:
        """Log odds of label +1 from the kernel between new points and the centers."""
        return points @ self.coefficients


def choose_centers(n: int, count: int, generator: np.random.Generator) -> np.ndarray:
    """Draw `count` of n training points without replacement, in ascending order.

    Raises
    ------
    ValueError
        If there are more centers than points.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.regression import choose_centers
    >>> choose_centers(1000, 4, np.random.default_rng(0)).tolist()
    [162, 206, 222, 459]
    """
    if not 1 <= count <= n:
        raise ValueError(f"{count} Nyström centers requested from {n} training points; give 1 to {n}.")
    return np.sort(generator.permutation(n)[:count])


def fit_nystrom_logistic(
    columns: Float[np.ndarray, "n M"],
    centers: np.ndarray,
    labels: np.ndarray,
    *,
    penalty: float,
    max_iterations: int = 60,
    tolerance: float = 1e-9,
) -> NystromFit:
    """Fit on the kernel between all training points and the centers.

    Parameters
    ----------
    columns : ndarray, shape (n, M)
        k(x_i, c_j), float64.
    centers : int ndarray, shape (M,)
        Which training points the centers are.
    labels : ndarray, shape (n,)
        ±1, or 0/1.
    penalty : float
        λ > 0: Newton starts at a large one and falls to it by tens.
    max_iterations : int
        Newton steps at each penalty.
    tolerance : float
        Stop when the largest gradient entry falls below this share of its value at zero.

    Returns
    -------
    NystromFit

    Raises
    ------
    ValueError
        For λ ≤ 0, one class, non-finite columns, or a kernel of the centers that is not positive semi-definite.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.regression import choose_centers, fit_nystrom_logistic
    >>> rng = np.random.default_rng(0)
    >>> x = rng.standard_normal(2000)
    >>> labels = (np.sin(3 * x) + 0.3 * rng.standard_normal(2000) > 0).astype(int)
    >>> centers = choose_centers(2000, 20, rng)
    >>> columns = np.exp(-2 * np.subtract.outer(x, x[centers]) ** 2)  # 2000 x 20 instead of 2000 x 2000
    >>> fit = fit_nystrom_logistic(columns, centers, labels, penalty=0.1)
    >>> fit.converged, float(np.mean((fit.log_odds(columns) > 0) == labels).round(2))
    (True, 0.92)
    """
    if not penalty > 0:
        raise ValueError(f"a Nyström fit needs a penalty λ > 0, got {penalty}: separable data have no optimum without.")
    refuse_non_finite(columns, "kernel columns")
    signs = binary_signs(labels, len(columns))
    square = columns[centers]
    check_training_kernel(square, 1e-8)
    # a jitter of the size of the largest eigenvalue's rounding error: equal centers make the square matrix singular
    jitter = len(square) * EPS * float(np.trace(square))
    root = linalg.cholesky((square + square.T) / 2.0 + jitter * np.eye(len(square)))
    phi = linalg.solve_triangular(root, columns.T, trans="T").T
    scale = max(float(np.abs(phi.T @ signs).max()) / 2.0, EPS)
    theta, newton, products, slope = np.zeros(phi.shape[1]), 0, 0, np.inf
    for stage in _penalties(phi, penalty):
        goal = tolerance if stage == penalty else 1e-2
        for _ in range(max_iterations):
            gradient, curvature = _derivatives(phi, signs, theta, stage)
            slope = float(np.abs(gradient).max())
            if slope <= goal * scale:
                break
            step, taken = _newton_direction(phi, curvature, gradient, stage, centers)
            newton, products = newton + 1, products + taken
            length = _line_search(phi, signs, theta, step, gradient, stage)
            if length == 0.0:
                break
            theta = theta - length * step
    gradient, _ = _derivatives(phi, signs, theta, penalty)
    slope = float(np.abs(gradient).max())
    loss = float(np.logaddexp(0.0, -signs * (phi @ theta)).mean())
    beta = linalg.solve_triangular(root, theta)
    return NystromFit(beta, penalty, slope <= max(tolerance, 1e-8) * scale, newton, products, slope, loss)


def _penalties(phi: np.ndarray, penalty: float) -> list[float]:
    largest = 0.25 * float(np.square(phi).sum(axis=1).mean()) * len(phi)
    count = max(0, int(np.ceil(np.log10(max(largest / penalty, 1.0)) / np.log10(_PATH))) - 1)
    return [penalty * _PATH**power for power in range(count, 0, -1)] + [penalty]


def _derivatives(
    phi: np.ndarray, signs: np.ndarray, theta: np.ndarray, penalty: float
) -> tuple[np.ndarray, np.ndarray]:
    pull, curvature = logistic_pull(signs * (phi @ theta))
    return -phi.T @ (signs * pull) + penalty * theta, curvature


def _newton_direction(
    phi: np.ndarray, curvature: np.ndarray, gradient: np.ndarray, penalty: float, centers: np.ndarray
) -> tuple[np.ndarray, int]:
    """Solve (ΦᵀDΦ + λI) p = g by conjugate gradients, preconditioned by the centers' share of ΦᵀDΦ."""
    near = phi[centers] * np.sqrt(curvature[centers] * len(phi) / len(centers))[:, None]
    factor = linalg.cho_factor(near.T @ near + penalty * np.eye(phi.shape[1]))
    step, residual = np.zeros_like(gradient), gradient.copy()
    ready = linalg.cho_solve(factor, residual)
    search, energy = ready.copy(), float(residual @ ready)
    # inexact Newton: the closer the gradient is to zero, the more exact its direction
    goal = min(0.1, np.sqrt(float(np.linalg.norm(gradient)))) * 1e-3 * float(np.linalg.norm(gradient))
    taken = 0
    while taken < 2 * len(gradient):
        taken += 1
        image = phi.T @ (curvature * (phi @ search)) + penalty * search
        length = energy / float(search @ image)
        step, residual = step + length * search, residual - length * image
        if float(np.linalg.norm(residual)) <= goal:
            break
        ready = linalg.cho_solve(factor, residual)
        energy, before = float(residual @ ready), energy
        search = ready + (energy / before) * search
    return step, taken


def _line_search(
    phi: np.ndarray, signs: np.ndarray, theta: np.ndarray, step: np.ndarray, gradient: np.ndarray, penalty: float
) -> float:
    """Length of the step; Φθ and Φp are formed once."""
    outputs, change = phi @ theta, phi @ step

    def objective(length: float) -> float:
        shifted = theta - length * step
        return float(np.logaddexp(0.0, -signs * (outputs - length * change)).sum() + 0.5 * penalty * shifted @ shifted)

    return halved_step(objective, objective(0.0), float(gradient @ step))[0]
