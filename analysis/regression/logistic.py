"""Kernel logistic regression by Newton's method, in coefficients (Gram) or weights (features).

Labels are ±1. With K̃ = diag(y) K the dual problem is min_α Σ log(1 + exp(-(K̃α)_i)) + (λ/2) αᵀKα; on features
it is the same with K replaced by Φ and αᵀKα by ‖w‖². The Hessian is pseudo-inverted and a line search keeps the
loss from rising. The published protocol (no penalty, twelve full steps, random start; arXiv 2310.18612, authors'
code) makes the iteration cap a hidden penalty on separable data, so it has its own function.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float
from scipy import linalg, special

from analysis.checks import check_training_kernel
from analysis.regression.newton import binary_signs, halved_step, logistic_pull, refuse_non_finite
from kernels.arguments import checked_arguments

EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class LogisticFit:
    """A fitted logistic machine.

    Attributes
    ----------
    coefficients : ndarray, shape (n,) for a Gram, (p,) for features
    penalty : float
        λ in use; for separable data and λ = 0, the small one that was used instead.
    converged : bool
        Whether the gradient tolerance was met.
    iterations : int
    gradient : float
        Largest entry of the gradient, in absolute value.
    loss : float
        Mean logistic loss on the training points, without penalty, in nats.
    separable : bool
        Whether the fit classifies every training point correctly: a certificate that the unpenalized optimum
        is at infinity. False at λ > 0 does not prove the contrary.
    rank : int
        Rank of the last Hessian.
    """

    coefficients: Float[np.ndarray, " q"]
    penalty: float
    converged: bool
    iterations: int
    gradient: float
    loss: float
    separable: bool
    rank: int

    def log_odds(self, points: Float[np.ndarray, "m q"]) -> Float[np.ndarray, " m"]:
        """Log odds of label +1 from features or kernel rows of new points."""
        return points @ self.coefficients

    def probability(self, points: Float[np.ndarray, "m q"]) -> Float[np.ndarray, " m"]:
        """Probability of label +1."""
        return special.expit(self.log_odds(points))


@checked_arguments
def fit_kernel_logistic(
    gram: Float[np.ndarray, "n n"],
    labels: np.ndarray,
    *,
    penalty: float,
    start: Float[np.ndarray, " n"] | None = None,
    max_iterations: int = 100,
    tolerance: float = 1e-10,
) -> LogisticFit:
    """Fit on a training Gram.

    Parameters
    ----------
    gram : ndarray, shape (n, n)
        Symmetric positive semi-definite; for two logits that of their *difference*.
    labels : ndarray, shape (n,)
        ±1, or 0/1.
    penalty : float
        λ ≥ 0.
    start : ndarray, shape (n,), optional
        Coefficients to start from (zeros).
    max_iterations : int
    tolerance : float
        Stop when the largest gradient entry falls below this share of its value at zero.

    Returns
    -------
    LogisticFit

    Warns
    -----
    UserWarning
        If λ = 0 and the data are separable: a penalized fit is returned and its λ named.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.regression import fit_kernel_logistic
    >>> x = np.array([[0, 0], [1, 1], [0, 1], [1, 0]])
    >>> gram = (1.0 + x @ x.T) ** 2  # a quadratic kernel can solve XOR
    >>> fit = fit_kernel_logistic(gram, np.array([0, 0, 1, 1]), penalty=0.01)
    >>> fit.converged, fit.probability(gram).round(2).tolist()
    (True, [0.1, 0.05, 0.93, 0.93])
    """
    gram = np.asarray(gram, np.float64)
    refuse_non_finite(gram, "Gram")
    check_training_kernel(gram, 1e-8)
    signs = binary_signs(labels, gram.shape[0])
    return _fit(gram, gram, signs, penalty, start, max_iterations, tolerance)


def fit_feature_logistic(
    features: Float[np.ndarray, "n p"],
    labels: np.ndarray,
    *,
    penalty: float,
    free: Bool[np.ndarray, " p"] | None = None,
    start: Float[np.ndarray, " p"] | None = None,
    max_iterations: int = 100,
    tolerance: float = 1e-10,
) -> LogisticFit:
    """Fit on features, where p is smaller than n or a bias must stay free.

    Parameters
    ----------
    features : ndarray, shape (n, p)
        Append a column of ones for a bias.
    labels : ndarray, shape (n,)
        ±1, or 0/1.
    penalty : float
        λ ≥ 0.
    free : bool ndarray, shape (p,), optional
        Columns that are not penalized (the bias). None penalizes all, as the Gram of the features does.
    start, max_iterations, tolerance
        As in `fit_kernel_logistic`.

    Returns
    -------
    LogisticFit

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.regression import fit_feature_logistic
    >>> x = np.array([-2.0, -1.0, 0.5, -0.5, 1.0, 2.0])
    >>> design = np.column_stack([x, np.ones(6)])
    >>> fit = fit_feature_logistic(design, np.array([0, 0, 0, 1, 1, 1]), penalty=0.1, free=np.array([False, True]))
    >>> fit.probability(np.array([[-2.0, 1.0], [0.0, 1.0], [2.0, 1.0]])).round(2).tolist()
    [0.08, 0.5, 0.92]
    """
    features = np.asarray(features, np.float64)
    refuse_non_finite(features, "features")
    signs = binary_signs(labels, features.shape[0])
    weights = np.ones(features.shape[1]) if free is None else np.where(free, 0.0, 1.0)
    return _fit(features, np.diag(weights), signs, penalty, start, max_iterations, tolerance)


def logistic_path(
    features: Float[np.ndarray, "n p"],
    labels: np.ndarray,
    penalties: Sequence[float],
    *,
    free: Bool[np.ndarray, " p"] | None = None,
    tolerance: float = 1e-10,
) -> list[LogisticFit]:
    """Fit a descending sequence of penalties, each started from the one before.

    Parameters
    ----------
    features : ndarray, shape (n, p)
    labels : ndarray, shape (n,)
        ±1, or 0/1.
    penalties : sequence of float
        Positive; fitted from the largest down.
    free, tolerance
        As in `fit_feature_logistic`.

    Returns
    -------
    list of LogisticFit
        In descending order of penalty.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.regression import logistic_path
    >>> x = np.array([[-2.0], [-1.0], [0.5], [-0.5], [1.0], [2.0]])
    >>> path = logistic_path(x, np.array([0, 0, 0, 1, 1, 1]), [0.1, 1.0, 10.0])
    >>> [(fit.penalty, round(fit.loss, 3)) for fit in path]
    [(10.0, 0.619), (1.0, 0.494), (0.1, 0.462)]
    """
    fits: list[LogisticFit] = []
    for penalty in sorted(penalties, reverse=True):
        start = fits[-1].coefficients if fits else None
        fits.append(
            fit_feature_logistic(features, labels, penalty=penalty, free=free, start=start, tolerance=tolerance)
        )
    return fits


def fit_published_logistic(
    gram: Float[np.ndarray, "n n"],
    labels: np.ndarray,
    *,
    generator: np.random.Generator,
    iterations: int = 12,
    tolerance: float = 1e-12,
) -> LogisticFit:
    """Fit as the authors' code does: λ = 0, start U(-1, 1)·1e-3, at most twelve full Newton steps.

    Stops when the largest entry of the gradient, the step or K̃·step falls below `tolerance`. On separable data
    the answer depends on the number of iterations; `separable` is then True.

    Parameters
    ----------
    gram : ndarray, shape (n, n)
    labels : ndarray, shape (n,)
        ±1, or 0/1.
    generator : numpy Generator
        Draws the start.
    iterations : int
    tolerance : float

    Returns
    -------
    LogisticFit

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.regression import fit_published_logistic
    >>> gram, labels = np.diag([1.0, 2.0, 3.0]), np.array([0, 1, 1])
    >>> fits = [fit_published_logistic(gram, labels, generator=np.random.default_rng(0), iterations=n) for n in (6, 12)]
    >>> [(fit.separable, float(f"{fit.loss:.0e}")) for fit in fits]  # the cap on the iterations decides
    [(True, 0.0007), (True, 2e-06)]
    """
    gram = np.asarray(gram, np.float64)
    refuse_non_finite(gram, "Gram")
    signs = binary_signs(labels, gram.shape[0])
    theta = np.asarray(generator.uniform(-1.0, 1.0, gram.shape[0])) * 1e-3
    none = np.zeros_like(gram)
    rank, done, steps, slope = 0, False, 0, float("inf")
    while steps < iterations and not done:
        gradient, hessian = _derivatives(gram, none, signs, theta, 0.0)
        step, rank = _pseudo_solve(hessian, gradient)
        steps += 1
        theta = theta - step
        slope = float(np.abs(gradient).max())
        done = min(slope, float(np.abs(step).max()), float(np.abs(gram @ step).max())) < tolerance
    margins = signs * (gram @ theta)
    loss = float(np.logaddexp(0.0, -margins).mean())
    return LogisticFit(theta, 0.0, done, steps, slope, loss, bool((margins > 0).all()), rank)


def _fit(
    design: np.ndarray,
    shrink: np.ndarray,
    signs: np.ndarray,
    penalty: float,
    start: np.ndarray | None,
    max_iterations: int,
    tolerance: float,
) -> LogisticFit:
    if penalty < 0:
        raise ValueError(f"the penalty λ must not be negative, got {penalty}.")
    theta = np.zeros(design.shape[1]) if start is None else np.array(start, np.float64)
    fit = _newton(design, shrink, signs, theta, penalty, max_iterations, tolerance)
    if penalty == 0.0 and fit.separable:
        # scaled so that the replacement does not depend on the kernel's units
        stand_in = 1e-6 * float(np.square(design).sum() / max(np.trace(shrink), EPS)) / len(signs)
        warnings.warn(
            f"the classes are separable, so λ = 0 has no optimum: fitted with λ = {stand_in:.3g} instead.",
            stacklevel=3,
        )
        zero = np.zeros(design.shape[1])
        fit = _newton(design, shrink, signs, zero, stand_in, max_iterations, tolerance)
        fit = replace(fit, separable=True)
    return fit


def _newton(
    design: np.ndarray,
    shrink: np.ndarray,
    signs: np.ndarray,
    theta: np.ndarray,
    penalty: float,
    max_iterations: int,
    tolerance: float,
) -> LogisticFit:
    scale = max(float(np.abs(design.T @ signs).max()) / 2.0, EPS)
    rank, steps, slope = 0, 0, np.inf
    value = _objective(design, shrink, signs, theta, penalty)
    for steps in range(max_iterations + 1):
        gradient, hessian = _derivatives(design, shrink, signs, theta, penalty)
        slope = float(np.abs(gradient).max())
        certified = penalty == 0.0 and bool((signs * (design @ theta) > 0).all())
        if slope <= tolerance * scale or certified or steps == max_iterations:
            break
        step, rank = _pseudo_solve(hessian, gradient)

        def after(length: float, start: np.ndarray = theta, step: np.ndarray = step) -> float:
            return _objective(design, shrink, signs, start - length * step, penalty)

        length, value = halved_step(after, value, float(gradient @ step))
        if length == 0.0:
            break  # the loss cannot be lowered in float64: the gradient says how close this is
        theta = theta - length * step
    margins = signs * (design @ theta)
    loss = float(np.logaddexp(0.0, -margins).mean())
    # a Gram near singular leaves gradients of rounding size that no step can lower
    converged = slope <= max(tolerance, 1e-9) * scale
    return LogisticFit(theta, penalty, converged, steps, slope, loss, bool((margins > 0).all()), rank)


def _objective(design: np.ndarray, shrink: np.ndarray, signs: np.ndarray, theta: np.ndarray, penalty: float) -> float:
    loss = np.logaddexp(0.0, -signs * (design @ theta)).sum()
    return float(loss + 0.5 * penalty * theta @ (shrink @ theta))


def _derivatives(
    design: np.ndarray, shrink: np.ndarray, signs: np.ndarray, theta: np.ndarray, penalty: float
) -> tuple[np.ndarray, np.ndarray]:
    pull, curvature = logistic_pull(signs * (design @ theta))
    gradient = -design.T @ (signs * pull) + penalty * (shrink @ theta)
    return gradient, design.T @ (curvature[:, None] * design) + penalty * shrink


def _pseudo_solve(hessian: np.ndarray, gradient: np.ndarray) -> tuple[np.ndarray, int]:
    values, vectors = linalg.eigh(hessian)
    kept = values > len(values) * EPS * max(values[-1], 0.0)
    part = vectors[:, kept]
    return part @ ((part.T @ gradient) / values[kept]), int(np.count_nonzero(kept))
