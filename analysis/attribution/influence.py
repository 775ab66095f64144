"""Influence functions g(x)ᵀ(H + λI)⁻¹g_i with an explicit Gauss-Newton or Fisher curvature H (arXiv:1703.04730).

The curvature is given by its root R with H = RᵀR / n. The approximation for networks whose root does not fit in
memory, EK-FAC, is in `kernels.influence`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float
from scipy.linalg import cho_factor, cho_solve
from scipy.sparse.linalg import LinearOperator, cg

Solver = Literal["dense", "dual", "cg"]


@dataclass(frozen=True)
class ExactInfluence:
    """Scores (m, n), the damping used, and the largest relative residual of the linear solves."""

    scores: Float[np.ndarray, "m n"]
    damping: float
    residual: float


def exact_influence(
    test: Float[np.ndarray, "m p"],
    train: Float[np.ndarray, "n p"],
    root: Float[np.ndarray, "q p"],
    *,
    damping: float,
    solver: Solver = "dual",
    tol: float = 1e-10,
) -> ExactInfluence:
    """Score training points with the curvature H = RᵀR / n, solved without approximation.

    Parameters
    ----------
    test, train : ndarray, shapes (m, p), (n, p)
        Loss gradients g(x) and g_i.
    root : ndarray, shape (q, p)
        R: for the Gauss-Newton matrix of n points and C classes, the rows L_iᵀJ_i with L_iL_iᵀ = ∂²ℓ_i/∂f²
        (q = nC); for the empirical Fisher, the gradients themselves.
    damping : float
        λ > 0, absolute.
    solver : {"dense", "dual", "cg"}
        Factorize p x p, factorize q x q (Woodbury), or conjugate gradients per test point.
    tol : float
        Relative residual of "cg".

    Returns
    -------
    ExactInfluence
        Positive supports: up-weighting x_i by ε in a mean-loss objective changes the loss of x by -ε times the
        score, to first order and at λ = 0 at the minimizer.

    Raises
    ------
    ValueError
        Without damping, or if conjugate gradients do not reach `tol`.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.attribution import exact_influence
    >>> gradients = np.array([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]])
    >>> exact_influence(gradients[:1], gradients, gradients, damping=0.1).scores.round(2)
    array([[ 1.42, -0.54,  1.15]])
    """
    if not damping > 0:
        raise ValueError(f"damping must be positive (the curvature of a network is singular), got {damping}.")
    r = root.astype(np.float64)
    right = test.astype(np.float64).T
    n, p = train.shape[0], r.shape[1]
    if solver == "dense":
        solved = cho_solve(cho_factor(r.T @ r / n + damping * np.eye(p)), right)
    elif solver == "dual":
        inner = cho_factor(r @ r.T + n * damping * np.eye(len(r)))
        solved = (right - r.T @ cho_solve(inner, r @ right)) / damping
    elif solver == "cg":
        operator = LinearOperator((p, p), matvec=lambda v: r.T @ (r @ v) / n + damping * v, dtype=np.float64)
        solved = np.empty_like(right)
        for column in range(right.shape[1]):
            solved[:, column], failed = cg(operator, right[:, column], rtol=tol, atol=0.0, maxiter=10 * p)
            if failed:
                raise ValueError(
                    f"Conjugate gradients did not reach {tol:g} for test point {column}; raise damping (now "
                    f"{damping:g}) or use solver='dual'."
                )
    else:
        raise ValueError(f"solver must be 'dense', 'dual' or 'cg', got {solver!r}.")
    left_over = r.T @ (r @ solved) / n + damping * solved - right
    size = np.maximum(np.linalg.norm(right, axis=0), np.finfo(np.float64).tiny)
    return ExactInfluence(solved.T @ train.T, damping, float((np.linalg.norm(left_over, axis=0) / size).max()))
