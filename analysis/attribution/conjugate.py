"""Conjugate gradients with a preconditioner, for influence in networks too large to factorize a curvature."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from kernels.arguments import checked_arguments

Product = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class ConjugateSolution:
    """Solutions as rows, the relative residual of each, and the steps that were taken.

    Attributes
    ----------
    rows : Tensor, shape (m, p)
    residual : Tensor, shape (m,)
        ‖Ax - b‖ / ‖b‖, from a product with the solution itself and not from the recursion.
    steps : Tensor of int, shape (m,)
        Until the recursion's residual was below the tolerance; the largest number of steps where it never was.
    """

    rows: Float[Tensor, "m p"]
    residual: Float[Tensor, " m"]
    steps: Int[Tensor, " m"]


@checked_arguments
def conjugate_gradients(
    product: Product, right: Float[Tensor, "m p"], *, precondition: Product, tol: float, most: int
) -> ConjugateSolution:
    """Solve A x = b for several b at once, A symmetric and positive definite.

    Parameters
    ----------
    product, precondition : callable
        Rows (k, p) times A, and times an approximation of its inverse.
    right : Tensor, shape (m, p)
        One b a row. A row that has converged is left out of further products.
    tol : float
        Relative residual to stop at.
    most : int
        Most steps. What is left over then is in the residual: the caller reports it.

    Raises
    ------
    ValueError
        If the matrix or the preconditioner is not positive definite or of another size, or a value is not finite.

    References
    ----------
    Hestenes and Stiefel (1952), "Methods of conjugate gradients for solving linear systems".

    Examples
    --------
    >>> import torch
    >>> from analysis.attribution import conjugate_gradients
    >>> matrix = torch.diag(torch.tensor([1.0, 2.0, 100.0])).double()
    >>> found = conjugate_gradients(lambda x: x @ matrix, torch.ones(1, 3).double(),
    ...     precondition=lambda x: x / matrix.diagonal(), tol=1e-12, most=10)
    >>> found.rows, found.steps
    (tensor([[1.0000, 0.5000, 0.0100]], dtype=torch.float64), tensor([1]))
    """
    if not 0 <= tol < 1 or most < 1:
        raise ValueError(f"tol={tol:g} must be a relative residual from 0 to 1, and most={most} at least 1 step.")
    if not bool(right.isfinite().all()):
        row = int((~right.isfinite().all(1)).nonzero()[0])
        raise ValueError(f"right has values that are NaN or infinite, first in row {row}.")
    b = right.double()
    size = b.norm(dim=1).clamp_min(torch.finfo(torch.float64).tiny)
    x, r = torch.zeros_like(b), b.clone()
    z = _same_shape(precondition(r), r, "precondition")
    d, rz = z.clone(), (r * z).sum(1)
    steps = torch.zeros(len(b), dtype=torch.int64)
    for step in range(1, most + 1):
        open_ = (r.norm(dim=1) > tol * size).nonzero()[:, 0]
        if not len(open_):
            break
        steps[open_.cpu()] = step
        if not bool((rz[open_] > 0).all()):
            raise ValueError("the preconditioner of conjugate gradients is not positive definite: raise its damping")
        along = d[open_]
        image = _same_shape(product(along), along, "product")
        curvature = (along * image).sum(1)
        if not bool((curvature > 0).all()):
            raise ValueError("the matrix of conjugate gradients is not positive definite: raise the damping")
        length = (rz[open_] / curvature)[:, None]
        x[open_] += length * along
        r[open_] -= length * image
        z_new = precondition(r[open_])
        rz_new = (r[open_] * z_new).sum(1)
        d[open_] = z_new + (rz_new / rz[open_])[:, None] * along
        rz[open_] = rz_new
    return ConjugateSolution(x, (product(x) - b).norm(dim=1) / size, steps)


def _same_shape(rows: Tensor, like: Tensor, name: str) -> Tensor:
    if rows.shape != like.shape:
        raise ValueError(f"{name} turns rows of shape {tuple(like.shape)} into {tuple(rows.shape)}: it must keep them.")
    return rows
