"""Regularity of a kernel from its Gram matrix on a uniform grid: eigenvalue decay and effective dimension."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy import linalg, stats

from analysis.checks import check_training_kernel

EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class EigenvalueDecay:
    """Power-law fit λ_i ~ i^slope over a window of indices.

    Attributes
    ----------
    eigenvalues : ndarray, shape (n,)
        Descending; rounding negatives are zero.
    slope : float
        Slope of log λ_i on log i; NaN where the window reaches below rounding.
    sobolev_order : float
        s with λ_i ~ i^(-2s), that is -slope/2 (one-dimensional inputs on a uniform grid).
    r_squared : float
        Of the log-log line. Near-exponential decay (smooth activations) shows as a curved, poorer fit.
    window : tuple of int
        First and last index, counted from 1.
    numerical_rank : int
        Eigenvalues above n·eps of the largest.
    """

    eigenvalues: Float[np.ndarray, " n"]
    slope: float
    sobolev_order: float
    r_squared: float
    window: tuple[int, int]
    numerical_rank: int


def eigenvalue_decay(gram: Float[np.ndarray, "n n"], *, window: tuple[int, int] = (5, 40)) -> EigenvalueDecay:
    """Fit the decay of a Gram's eigenvalues.

    Parameters
    ----------
    gram : ndarray, shape (n, n)
        Kernel of a uniform grid with itself.
    window : tuple of int
        First and last index of the fit, counted from 1. Fix it before looking.

    Returns
    -------
    EigenvalueDecay

    Raises
    ------
    ValueError
        If the window does not fit, or the Gram is not symmetric positive semi-definite.

    References
    ----------
    arXiv 2310.18612: the regularity of the kernel determines what the kernel machine gains.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.regression import eigenvalue_decay
    >>> x = np.linspace(-1, 1, 100)
    >>> found = eigenvalue_decay(np.exp(-np.abs(np.subtract.outer(x, x))))  # the Laplace kernel has order one
    >>> round(found.sobolev_order, 2), found.numerical_rank
    (1.04, 100)
    """
    first, last = window
    if not 1 <= first < last <= gram.shape[0]:
        raise ValueError(f"window {window} does not fit {gram.shape[0]} eigenvalues.")
    check_training_kernel(gram, 1e-8)
    values = np.clip(linalg.eigvalsh(np.asarray(gram, np.float64))[::-1], 0.0, None)
    rank = int(np.count_nonzero(values > gram.shape[0] * EPS * values[0]))
    slope = r_squared = float("nan")
    if rank >= last:
        index = np.arange(first, last + 1)
        line = stats.linregress(np.log(index), np.log(values[first - 1 : last]))
        slope, r_squared = float(line.slope), float(line.rvalue) ** 2
    return EigenvalueDecay(values, slope, -slope / 2.0, r_squared, window, rank)


def effective_dimension(
    eigenvalues: Float[np.ndarray, " n"], penalties: Float[np.ndarray, " g"]
) -> Float[np.ndarray, " g"]:
    """Σ_i λ_i/(λ_i + μ) for each μ > 0, the trace of the ridge smoother.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.regression import effective_dimension
    >>> eigenvalues = 1.0 / np.arange(1, 101) ** 2  # how many of these directions does a ridge keep?
    >>> effective_dimension(eigenvalues, np.array([1.0, 0.01, 0.0001])).round(1).tolist()
    [1.1, 14.2, 78.3]
    """
    if (penalties <= 0).any():
        raise ValueError("the effective dimension takes μ > 0; at μ = 0 it is the rank.")
    return (eigenvalues / (eigenvalues + penalties[:, None])).sum(axis=1)
