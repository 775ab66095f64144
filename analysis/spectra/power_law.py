"""Maximum-likelihood power law of an upper tail, which returns an exponent on every spectrum."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

MIN_TAIL = 10
"""Fewest values above ``x_min`` for a fit to count."""


@dataclass(frozen=True)
class PowerLawFit:
    """Continuous power law ``p(x) ~ x**-alpha`` above ``x_min``.

    Attributes
    ----------
    alpha : float
        Maximum-likelihood exponent.
    x_min : float
        Start of the tail: the candidate with the smallest ``distance``.
    distance : float
        Kolmogorov-Smirnov distance between the tail and its fit.
    tail : int
        Number of values at or above ``x_min``.
    """

    alpha: float
    x_min: float
    distance: float
    tail: int


def fit_power_law(values: Float[np.ndarray, " n"], min_tail: int = MIN_TAIL) -> PowerLawFit:
    """Fit a power law to the upper tail, its start chosen by the KS distance.

    Parameters
    ----------
    values : ndarray (n,)
        Positive values (eigenvalues); zeros and negatives are left out.
    min_tail : int
        Fewest values in the tail.

    References
    ----------
    Clauset, Shalizi and Newman (2009), arXiv:0706.1062, section 3.
    """
    ordered = np.sort(values[values > 0])[::-1].astype(np.float64)
    if not np.all(np.isfinite(ordered)):
        raise ValueError("values hold infinities: mark this spectrum as failed instead of fitting it")
    if ordered.size < min_tail + 1 or ordered[0] == ordered[min_tail - 1]:
        raise ValueError(f"a tail fit needs more than {min_tail} positive values that differ, got {ordered.size}")
    logs = np.log(ordered)
    sums = np.cumsum(logs)
    best: PowerLawFit | None = None
    for size in range(min_tail, ordered.size + 1):
        mean_log = sums[size - 1] / size - logs[size - 1]
        if mean_log <= 0 or (size < ordered.size and ordered[size] == ordered[size - 1]):
            continue
        survival = np.exp((logs[size - 1] - logs[:size]) / mean_log)
        rank = np.arange(size) / size
        distance = max(float(np.max(survival - rank)), float(np.max(rank + 1 / size - survival)))
        if best is None or distance < best.distance:
            best = PowerLawFit(1 + 1 / mean_log, float(ordered[size - 1]), distance, size)
    assert best is not None  # the largest tail always qualifies
    return best


def hill_exponent(values: Float[np.ndarray, " n"], fraction: float = 0.5) -> float:
    """Hill estimate of the density exponent over the upper share of the values.

    Parameters
    ----------
    values : ndarray (n,)
        Positive values.
    fraction : float
        Share of the values in the tail.
    """
    ordered = np.sort(values[values > 0])[::-1]
    size = int(fraction * ordered.size)
    if size < 2:
        raise ValueError(f"the upper {fraction:.0%} of {ordered.size} positive values holds fewer than 2")
    return 1.0 + size / float(np.sum(np.log(ordered[:size] / ordered[size])))
