"""Leading eigenvalues and effective rank of a Gram matrix that is too large to diagonalize, from products with it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from kernels.contraction.array_like import takes_results
from kernels.diagnostics import require_symmetric
from kernels.operator.entropy import spectral_entropy
from kernels.operator.estimates import Estimate
from kernels.operator.lanczos import top_eigenpairs

_ROWS = 2048
_BLOCK = 16
_PRODUCTS = 240
"""Of the entropy: 80 for the leading eigenvectors, and ten probes of 16 steps."""


@dataclass(frozen=True)
class LeadingSpectrum:
    """What products say of a Gram matrix.

    Attributes
    ----------
    values : (k,) float64
        Largest eigenvalues, largest first.
    errors : (k,) float64
        An eigenvalue lies within each of these of each value.
    trace : float
        Sum of all eigenvalues, from the diagonal.
    effective_rank : Estimate
        Exponential of the entropy of the whole spectrum, with an interval.
    """

    values: Float[Tensor, " k"]
    errors: Float[Tensor, " k"]
    trace: float
    effective_rank: Estimate


@takes_results
def leading_spectrum(
    kernel: Float[Tensor, "n n"], count: int = 64, *, seed: int = 0, confidence: float = 0.95
) -> LeadingSpectrum:
    """Find the largest eigenvalues in O(n²) a product, without a second copy of the matrix.

    :func:`kernels.kernel_spectrum` takes O(n³) and a float64 copy: 46 s of one core at 10,000 points.

    Parameters
    ----------
    kernel
        Symmetric positive semidefinite Gram matrix.
    count : int
        How many eigenvalues.
    seed : int
        Of the start vectors and probes.
    confidence : float
        Of the interval of the effective rank.

    Raises
    ------
    ValueError
        If an entry is not finite, the matrix is not symmetric to 1e-5 of its largest entry, or ``count`` is not
        between 1 and n.

    Examples
    --------
    >>> import torch
    >>> from kernels.operator.gram_spectrum import leading_spectrum
    >>> found = leading_spectrum(torch.diag(torch.tensor([4.0, 2.0, 1.0, 1.0])), 2)
    >>> found.values, found.trace, round(found.effective_rank.value, 3)
    (tensor([4.0000, 2.0000], dtype=torch.float64), 8.0, 3.364)
    """
    n = len(kernel)
    if not 1 <= count <= n:
        raise ValueError(f"count={count}: a kernel of {n} points has between 1 and {n} eigenvalues")
    require_symmetric(kernel)
    draws = np.random.default_rng(seed)

    def product(x: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n k"]:
        narrow = torch.from_numpy(np.ascontiguousarray(x)).to(kernel)
        return torch.cat([kernel[i : i + _ROWS] @ narrow for i in range(0, n, _ROWS)]).cpu().double().numpy()

    unit = float(torch.finfo(kernel.dtype).eps)
    pairs = top_eigenpairs(
        product,
        n,
        count,
        draws,
        tolerance=max(1e-6, 4 * unit),
        products=min(n, 16 * count),
        block=min(_BLOCK, count),
        rounding=unit * n**0.5,
    )
    trace = float(kernel.diagonal().double().sum())
    entropy = spectral_entropy(product, n, _PRODUCTS, draws, confidence, trace)
    value, low, high = np.exp([entropy.value, entropy.low, entropy.high]).tolist()
    rank = Estimate(value, low, high, entropy.products, entropy.method, entropy.confidence)
    values, errors = (torch.from_numpy(part.copy()) for part in (pairs.values, pairs.errors))
    return LeadingSpectrum(values, errors, trace, rank)
