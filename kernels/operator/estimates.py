r"""Traces of kernels and of their squares from products alone: Hutch++, with an interval from the probes' variance.

Hutch++ (Meyer, Musco, Musco and Woodruff, SOSA 2021, algorithm 1) takes the part of a matrix that a sketch of its range
sees exactly, and estimates the trace of the rest from Gaussian probes. Any orthonormal Q gives an unbiased estimate
:math:`\mathrm{tr}(Q^T A Q) + \frac1m \sum_j g_j^T (I - QQ^T) A (I - QQ^T) g_j`; a good one makes the second part small.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy import stats

Products = Callable[[Float[np.ndarray, "n k"]], Float[np.ndarray, "m k"]]


@dataclass(frozen=True)
class Estimate:
    """A number with its stated error.

    Attributes
    ----------
    value : float
        The estimate.
    low, high : float
        Interval that holds the true value with probability ``confidence``.
    products : int
        Vectors that the kernel was multiplied with.
    method : str
        How it was found.
    confidence : float
        Of the interval; 1 where nothing is left to chance.

    Examples
    --------
    >>> from kernels.operator import Estimate
    >>> found = Estimate(10.0, 9.5, 10.75, products=30, method="hutch++", confidence=0.95)
    >>> float(found), found.error, 9.9 in found
    (10.0, 0.75, True)
    """

    value: float
    low: float
    high: float
    products: int
    method: str
    confidence: float = 0.95

    @property
    def error(self) -> float:
        """Larger distance from the value to an end of its interval."""
        return max(self.value - self.low, self.high - self.value)

    def __float__(self) -> float:
        """Return the value."""
        return self.value

    def __contains__(self, number: float) -> bool:
        """Whether the interval holds a number."""
        return self.low <= number <= self.high

    def __str__(self) -> str:
        """Return the value, its interval and what it cost."""
        return (
            f"{self.value:.6g} ({self.confidence:.0%}: {self.low:.6g} to {self.high:.6g}; {self.method}, "
            f"{self.products} products)"
        )


@dataclass(frozen=True)
class Split:
    """One quantity as an exact part and equally distributed estimates of the rest."""

    exact: float
    probes: Float[np.ndarray, " m"]

    @property
    def value(self) -> float:
        """Exact part and mean of the estimates."""
        return self.exact + (float(self.probes.mean()) if len(self.probes) else 0.0)

    def interval(self, confidence: float, rounding: float) -> tuple[float, float]:
        """Return the ends of the interval, widened by a relative rounding error."""
        low, high = mean_interval(self.probes, confidence)
        return (self.exact + low) * (1 - rounding), (self.exact + high) * (1 + rounding)


def mean_interval(probes: Float[np.ndarray, " m"], confidence: float) -> tuple[float, float]:
    r"""Interval for the mean of quadratic forms :math:`g^T B g` of a positive semidefinite B and Gaussian g.

    Such a form is a weighted sum of chi-squared variables. Its law is taken as a scaled chi-squared one whose degrees
    of freedom follow from mean and variance of the probes (Satterthwaite), which keeps the skew that a normal interval
    ignores; because they are estimated themselves, they are lowered to what the number of probes can show, and never
    below the one degree of a matrix of rank one.

    Examples
    --------
    >>> import numpy as np
    >>> from kernels.operator.estimates import mean_interval
    >>> low, high = mean_interval(np.array([1.0, 1.2, 0.9, 1.1, 0.8]), 0.95)
    >>> bool(low < 1.0 < high)
    True
    """
    m = len(probes)
    if m == 0 or not float(np.abs(probes).max()) > 0:
        return 0.0, 0.0
    mean, variance = float(probes.mean()), float(probes.var(ddof=1)) if m > 1 else 0.0
    degrees = 1.0
    if m > 1:
        # Variance at the upper end of what m probes allow, were they normal, so that luck does not narrow the interval
        likely = variance * (m - 1) / stats.chi2.ppf(0.02, m - 1)
        degrees = max(1.0, 2.0 * mean**2 / likely) if likely > 0 else np.inf
    if not np.isfinite(degrees):
        return mean, mean
    law = stats.chi2(m * degrees)
    tail = (1 - confidence) / 2
    return mean * m * degrees / law.ppf(1 - tail), mean * m * degrees / law.ppf(tail)


@dataclass(frozen=True)
class Moments:
    """Trace of a kernel (where it is square) and of its Gram matrix, from the same products."""

    trace: Split | None
    square: Split
    products: int


def estimate_moments(
    product: Products,
    transposed: Products,
    size: int,
    products: int,
    generator: np.random.Generator,
    *,
    square: bool,
    rows: int | None = None,
) -> Moments:
    r"""Estimate :math:`\mathrm{tr} K` and :math:`\|K\|_F^2 = \mathrm{tr} K^T K` by Hutch++ with one set of products.

    Parameters
    ----------
    product, transposed : callable
        Map (n, k) to ``K @ x``, and (m, k) to ``K.T @ x``.
    size : int
        ``n``, the columns of K.
    products : int
        Vectors multiplied: a third for the sketch, a third for its range, a third for the rest. With ``size`` of them
        or more, the result is exact.
    generator : numpy.random.Generator
        Draws sketch and probes.
    square : bool
        Whether K is symmetric and positive semidefinite, so that it has a trace.
    rows : int, optional
        ``m``; without it ``n``.

    Examples
    --------
    >>> import numpy as np
    >>> from kernels.operator.estimates import estimate_moments
    >>> factor = np.random.default_rng(0).standard_normal((200, 8))
    >>> times = lambda x: factor @ (factor.T @ x)
    >>> found = estimate_moments(times, times, 200, 30, np.random.default_rng(1), square=True)
    >>> bool(np.isclose(found.trace.value, np.sum(factor**2)))  # rank 8: ten sketched columns see all of it
    True
    """
    if products >= size:
        whole = product(np.eye(size))
        trace = Split(float(np.trace(whole)), np.empty(0)) if square else None
        return Moments(trace, Split(float(np.sum(whole**2)), np.empty(0)), size)
    sketched = products // 3
    if sketched < 1 or products - 2 * sketched < 2:
        raise ValueError(f"products={products}: an estimate with an error needs at least 4")
    seen = transposed(generator.standard_normal((rows or size, sketched)))
    basis = np.linalg.qr(seen)[0]
    image = product(basis)
    probes = generator.standard_normal((size, products - 2 * sketched))
    for _ in range(2):
        probes = probes - basis @ (basis.T @ probes)
    rest = product(probes)
    trace = Split(float(np.sum(basis * image)), np.sum(probes * rest, 0)) if square else None
    return Moments(trace, Split(float(np.sum(image**2)), np.sum(rest**2, 0)), products)
