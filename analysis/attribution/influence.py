"""Influence functions g(x)ᵀ(H + λI)⁻¹g_i with an explicit Gauss-Newton or Fisher curvature H (arXiv:1703.04730).

The curvature is given by its root R with H = RᵀR / n, or through the dual by products alone: of a network these are
its exact tangent kernel, so that no gradient is ever stored. The approximation for networks whose kernel does not fit
in memory, EK-FAC, is in `kernels.influence`; `analysis.attribution.conjugate` improves it until the solve is exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float
from scipy.linalg import cho_factor, cho_solve
from scipy.sparse.linalg import LinearOperator, cg

from analysis.attribution.output_derivatives import OutputDerivatives
from analysis.checks import check_finite
from kernels.arguments import checked_arguments

Solver = Literal["dense", "dual", "cg"]


@dataclass(frozen=True)
class ExactInfluence:
    """Scores (m, n), the damping used, and the largest relative residual of the linear solves."""

    scores: Float[np.ndarray, "m n"]
    damping: float
    residual: float


@checked_arguments
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
        Without damping, if conjugate gradients do not reach `tol`, or if a value is not finite.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.attribution import exact_influence
    >>> gradients = np.array([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]])
    >>> exact_influence(gradients[:1], gradients, gradients, damping=0.1).scores.round(2)
    array([[ 1.42, -0.54,  1.15]])
    """
    _require_damping(damping)
    if not 0 < tol < 1:
        raise ValueError(f"tol={tol:g} must lie between 0 and 1: it is a relative residual.")
    check_finite(test=test, train=train, root=root)
    r = root.astype(np.float64)
    right = test.astype(np.float64).T
    n, p = train.shape[0], r.shape[1]
    if solver == "dense":
        solved = cho_solve(cho_factor(r.T @ r / n + damping * np.eye(p)), right)
    elif solver == "dual":
        solved = (right - r.T @ _dual(r @ r.T, r @ right, n, damping)[0]) / damping
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


LARGEST_DUAL = 12_000
"""Rows N·C of the largest dual that is factorized: 1.1 GiB in float64, and three such matrices at a time."""


@checked_arguments
def kernel_influence(
    square: Float[np.ndarray, "n n c c"],
    cross: Float[np.ndarray, "m n c c"],
    train: OutputDerivatives,
    measure: Float[np.ndarray, "m c"],
    *,
    damping: float,
) -> ExactInfluence:
    """Score training points by exact damped Gauss-Newton influence, from the network's tangent kernel.

    With J the Jacobian of all logits, r_i = ∂ℓ_i/∂f, L_iL_iᵀ = ∂²ℓ_i/∂f², R = LᵀJ and K = JJᵀ, the inverse of
    H + λ = RᵀR / n + λ needs only products of gradients (Woodbury):
    g_xᵀ(H + λ)⁻¹g_i = (g_x·g_i - (R g_x)ᵀ(RRᵀ + nλ)⁻¹ R g_i) / λ.

    Parameters
    ----------
    square : ndarray, shape (n, n, C, C)
        Unnormalized tangent kernel of the training points, one block of classes a pair (``kind="entk"``).
    cross : ndarray, shape (m, n, C, C)
        The same, test against training points.
    train : OutputDerivatives
        Slopes r_i and roots L_i of the training loss at the logits.
    measure : ndarray, shape (m, C)
        Derivative of each test point's measure by its logits, such as that of the log-odds of a class.
    damping : float
        λ > 0, absolute.

    Returns
    -------
    ExactInfluence
        Positive supports: up-weighting x_i by ε in the mean loss changes the measure of x by ε times the score, to
        first order and at λ = 0 at the minimizer. The residual is that of the dual system.

    Raises
    ------
    ValueError
        Without damping, if N·C is above `LARGEST_DUAL`, with the numbers, or if a value is not finite.

    References
    ----------
    Koh and Liang (2017), arXiv:1703.04730; Martens (2020), arXiv:1412.1193, section 6 (Gauss-Newton matrix).

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.attribution import kernel_influence
    >>> from analysis.attribution.output_derivatives import OutputDerivatives
    >>> x, y = np.array([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]]), np.array([1.0, 0.0, 0.0])  # f(x) = 0, squared loss
    >>> train = OutputDerivatives(-y[:, None], np.ones((3, 1, 1)))
    >>> kernel_influence((x @ x.T)[..., None, None], (x[:1] @ x.T)[..., None, None], train, np.ones((1, 1)),
    ...     damping=0.1).scores.round(2) + 0.0
    array([[1.42, 0.  , 0.  ]])
    """
    _require_damping(damping)
    n, c = train.slopes.shape
    require_dual(n, c)
    roots = train.roots
    if square.shape[1:3] != (n, c) or roots.shape != (n, c, c):
        raise ValueError(
            f"square {square.shape} is the kernel of {len(square)} points, and train has slopes {train.slopes.shape} "
            f"and roots {roots.shape}: they must be of the same points and classes."
        )
    check_finite(square=square, cross=cross, measure=measure, slopes=train.slopes, roots=roots)
    # square[i, j] is one c x c block, of the classes of i by those of j
    left = np.einsum("ica,ijcd->ijad", roots, square, optimize=True)
    gram = np.einsum("ijad,jdb->iajb", left, roots, optimize=True).reshape(n * c, n * c)
    rooted_train = np.einsum("ijad,jd->iaj", left, train.slopes, optimize=True).reshape(n * c, n)
    del left
    measured = np.einsum("xc,xicd->xid", measure, cross, optimize=True)
    rooted_test = np.einsum("xid,ida->iax", measured, roots, optimize=True).reshape(n * c, -1)
    products = np.einsum("xid,id->xi", measured, train.slopes)
    solved, residual = _dual(gram, rooted_test, n, damping)
    scores = (products - solved.T @ rooted_train) / damping
    return ExactInfluence(-scores, damping, residual)


def _require_damping(damping: float) -> None:
    if not 0 < damping < np.inf:
        raise ValueError(f"damping must be positive (the curvature of a network is singular), got {damping}.")


def require_dual(n: int, c: int) -> None:
    """Refuse a dual that is too large to factorize.

    Raises
    ------
    ValueError
        With the numbers, and what to do.
    """
    if n * c > LARGEST_DUAL:
        raise ValueError(
            f"exact_influence factorizes a matrix of N·C = {n}·{c} = {n * c} rows ({8 * (n * c) ** 2 / 2**30:.1f} GiB "
            f"in float64), and {LARGEST_DUAL} is the limit: attribute fewer training points (kernel.n_train="
            f"{LARGEST_DUAL // c}), or use cg_influence, which solves the same system by conjugate gradients"
        )


def _dual(
    gram: Float[np.ndarray, "q q"], right: Float[np.ndarray, "q m"], n: int, damping: float
) -> tuple[Float[np.ndarray, "q m"], float]:
    """(RRᵀ + nλ)⁻¹ times columns, and the largest relative residual."""
    damped = gram + n * damping * np.eye(len(gram))
    solved = cho_solve(cho_factor(damped, check_finite=False), right)
    size = np.maximum(np.linalg.norm(right, axis=0), np.finfo(np.float64).tiny)
    return solved, float((np.linalg.norm(damped @ solved - right, axis=0) / size).max())
