r"""Entropy of a spectrum from products: Lanczos quadrature with rules that enclose, and probes for the rest.

With eigenvalues :math:`\lambda_i`, trace T and a scale c, the entropy of :math:`\lambda / T` is :math:`\log (T / c) +
(c / T) \sum_i \varphi(\lambda_i / c)` with :math:`\varphi(x) = -x \log x`. Even derivatives of :math:`\varphi` are
negative and odd ones from the third positive, so Gauss's rule is at least the integral and Radau's, with a node at
zero, at most it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy import stats

from kernels.operator.estimates import Estimate
from kernels.operator.lanczos import Block, Tridiagonal, top_eigenpairs, tridiagonals


def spectral_entropy(
    product: Block,
    size: int,
    products: int,
    generator: np.random.Generator,
    confidence: float,
    trace: float | None = None,
) -> Estimate:
    r"""Entropy :math:`-\sum_i p_i \log p_i` with :math:`p = \lambda / \sum \lambda`, of a positive semidefinite kernel.

    A third of the products finds the top eigenvectors. For these both rules enclose :math:`v^T \varphi(K) v`; the rest
    is estimated from Gaussian probes orthogonal to them, with an equal number of Lanczos steps each. Where the kernel's
    ``trace`` is known, what the probes say of it tells how far off they are (a control variate).

    Examples
    --------
    >>> import numpy as np
    >>> from kernels.operator.entropy import spectral_entropy
    >>> kernel = np.diag([2.0, 2.0, 0.0])
    >>> found = spectral_entropy(lambda x: kernel @ x, 3, 30, np.random.default_rng(0), 0.95)
    >>> round(float(np.exp(found.value)), 6), found.method  # as many products as rows: nothing is estimated
    (2.0, 'all eigenvalues')
    """
    if products >= size:
        whole = product(np.eye(size))
        weights = np.clip(np.linalg.eigvalsh((whole + whole.T) / 2), 0, None)
        if not weights.sum() > 0:
            raise ValueError("the kernel is zero, so its spectrum has no entropy")
        shares = weights[weights > 0] / weights.sum()
        value = float(-(shares * np.log(shares)).sum())
        return Estimate(value, value, value, size, "all eigenvalues", 1.0)
    probes = max(4, products // 24)
    steps = (products - products // 3) // probes
    if steps < 3:
        raise ValueError(f"products={products}: an entropy with an error needs at least 20")
    count = max(1, products // 12)
    top = top_eigenpairs(product, size, count, generator, products=products // 3, tolerance=1e-3)
    scale = float(top.values[0])
    if not scale > 0:
        raise ValueError("the kernel is zero, so its spectrum has no entropy")
    kept = top.errors <= 0.1 * np.abs(top.values)  # a poor vector would widen the enclosure
    vectors, errors, values = top.vectors[:, kept], top.errors[kept], top.values[kept]
    found = float(values.sum())
    inside = _Enclosed(0.0, 0.0)
    for value, error in zip(values, errors, strict=True):
        inside += _enclose(Tridiagonal(np.array([value]), np.empty(0), float(error)), scale)
    starts = generator.standard_normal((size, probes))
    for _ in range(2):
        starts = starts - vectors @ (vectors.T @ starts)
    squares = np.sum(starts**2, 0)
    runs = tridiagonals(product, starts / np.sqrt(squares), steps)
    traces = squares * np.array([run.diagonal[0] for run in runs])
    bounds = [_enclose(run, scale) for run in runs]
    used = top.products + sum(len(run.diagonal) for run in runs)
    return _combined(found, traces, inside, squares, bounds, scale, used, confidence, trace)


@dataclass(frozen=True)
class _Enclosed:
    """A number between two rules."""

    low: float
    high: float

    def __add__(self, other: _Enclosed) -> _Enclosed:
        return _Enclosed(self.low + other.low, self.high + other.high)


def _enclose(run: Tridiagonal, scale: float) -> _Enclosed:
    rules = [(weights @ _phi(nodes / scale)) for nodes, weights in (run.radau(), run.gauss())]
    return _Enclosed(float(min(rules)), float(max(rules)))


def _phi(x: Float[np.ndarray, " k"]) -> Float[np.ndarray, " k"]:
    x = np.clip(x, 0, None)
    return -x * np.log(np.where(x > 0, x, 1.0))


def _combined(
    trace: float,
    traces: Float[np.ndarray, " p"],
    inside: _Enclosed,
    squares: Float[np.ndarray, " p"],
    bounds: list[_Enclosed],
    scale: float,
    used: int,
    confidence: float,
    known: float | None,
) -> Estimate:
    """Entropy of the mean probe, the probes' spread through the entropy's gradient, and the width of the rules."""
    low = squares * np.array([one.low for one in bounds])
    high = squares * np.array([one.high for one in bounds])
    total = trace + float(traces.mean()) if known is None else known
    sums = np.array([inside.low + low.mean(), inside.high + high.mean()])
    freedom = len(traces) - 1
    if known is None:
        slopes = (1 / total - scale * float(sums.mean()) / total**2) * traces + scale / total * (low + high) / 2
    else:
        off = traces - (known - trace)
        spread = float(((traces - traces.mean()) ** 2).sum())
        tilt = float((traces - traces.mean()) @ ((low + high) / 2)) / spread if spread > 0 else 0.0
        sums = sums - tilt * off.mean()
        slopes, freedom = scale / total * ((low + high) / 2 - tilt * off), freedom - 1
    ends = np.log(total / scale) + scale / total * sums
    value = float(ends.mean())
    # one degree of freedom less, and wider by it, where the control variate's slope is fitted
    error = slopes.std(ddof=1) * np.sqrt((len(traces) - 1) / freedom / len(traces))
    half = stats.t.ppf((1 + confidence) / 2, freedom) * error
    return Estimate(
        value,
        float(ends[0] - half),
        float(ends[1] + half),
        used,
        "Lanczos quadrature",
        confidence,
    )
