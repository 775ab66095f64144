"""The Marchenko-Pastur law and its edge: what the spectrum of an untrained weight looks like.

For ``W`` of shape (rows, columns) with iid entries of variance ``variance``, the eigenvalues of
``W.T @ W / rows`` follow the Marchenko-Pastur law with ratio ``c = columns / rows`` as both grow.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True)
class MarchenkoPastur:
    """Limit law of the eigenvalues of ``W.T @ W / rows``.

    Parameters
    ----------
    ratio : float
        ``c = columns / rows`` of ``W``. Above one the law has an atom ``1 - 1/c`` at zero.
    variance : float
        Variance of the entries of ``W``.

    References
    ----------
    Marchenko and Pastur (1967); ratio and normalization as in arXiv:2211.06506.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.spectra import MarchenkoPastur
    >>> law = MarchenkoPastur(ratio=0.25)
    >>> law.edges, law.quantile(np.array([0.5])).round(3).tolist()
    ((0.25, 2.25), [0.916])
    """

    ratio: float
    variance: float = 1.0

    def __post_init__(self) -> None:
        """Refuse parameters for which there is no law."""
        if not (math.isfinite(self.ratio) and self.ratio > 0):
            raise ValueError(f"ratio must be a positive number (columns / rows), got {self.ratio}")
        if not (math.isfinite(self.variance) and self.variance > 0):
            raise ValueError(
                f"variance must be positive, got {self.variance}; a constant weight matrix has no "
                "Marchenko-Pastur law: compare with the spectrum at step 0 instead"
            )

    @property
    def edges(self) -> tuple[float, float]:
        """Ends ``variance * (1 -+ sqrt(c))**2`` of the continuous part."""
        root = math.sqrt(self.ratio)
        return self.variance * (1 - root) ** 2, self.variance * (1 + root) ** 2

    @property
    def atom(self) -> float:
        """Mass at zero, ``max(0, 1 - 1/c)``."""
        return max(0.0, 1.0 - 1.0 / self.ratio)

    def density(self, x: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """Density of the continuous part (it integrates to ``1 - atom``)."""
        low, high = self.edges
        inside = (x > low) & (x < high) & (x > 0)
        out = np.zeros_like(x, dtype=np.float64)
        t = x[inside].astype(np.float64)
        out[inside] = np.sqrt((high - t) * (t - low)) / (2 * np.pi * self.ratio * self.variance * t)
        return out

    def cdf(self, x: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """Distribution function in closed form, atom included.

        The antiderivative of ``sqrt((b-t)(t-a))/t`` is elementary; for ``c > 1`` the non-zero part is
        the law of ratio ``1/c`` and variance ``c * variance``, with weight ``1/c``.
        """
        c = min(self.ratio, 1.0 / self.ratio)
        scale = self.variance * max(1.0, self.ratio)
        low, high = (1 - math.sqrt(c)) ** 2, (1 + math.sqrt(c)) ** 2
        t = np.clip(np.asarray(x, dtype=np.float64) / scale, low, high)
        width = high - low
        first = np.arcsin(np.clip((2 * t - low - high) / width, -1, 1))
        safe = np.maximum(t, np.finfo(np.float64).tiny)
        second = np.arcsin(np.clip(((low + high) - 2 * low * high / safe) / width, -1, 1))
        primitive = np.sqrt((high - t) * (t - low)) + (1 + c) * first - (1 - c) * second
        continuous = np.clip(0.5 + primitive / (2 * np.pi * c), 0.0, 1.0)
        return np.where(x >= 0, self.atom + (1.0 - self.atom) * continuous, 0.0)

    def quantile(self, p: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """Inverse of `cdf` by bisection to about 1e-15 of the upper edge; zero inside the atom."""
        if np.any((p < 0) | (p > 1)):
            raise ValueError("probabilities must be within [0, 1]")
        low = np.full(p.shape, self.edges[0])
        high = np.full(p.shape, self.edges[1])
        for _ in range(52):
            middle = 0.5 * (low + high)
            below = self.cdf(middle) < p
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        return np.where(p <= self.atom, 0.0 if self.atom else low, 0.5 * (low + high))


@dataclass(frozen=True)
class TracyWidomEdge:
    """Where the largest eigenvalue of a pure-noise ``W.T @ W / rows`` is, and how much it fluctuates.

    Attributes
    ----------
    center, scale : float
        ``(largest - center) / scale`` tends to the Tracy-Widom law of order one.
    """

    center: float
    scale: float

    def threshold(self, margin: float = 4.0) -> float:
        """Eigenvalue above which noise is no longer a reasonable explanation."""
        return self.center + margin * self.scale


def tracy_widom_edge(rows: int, columns: int, variance: float = 1.0) -> TracyWidomEdge:
    """Center and scale of the largest eigenvalue of ``W.T @ W / rows`` for iid Gaussian ``W``.

    Parameters
    ----------
    rows, columns : int
        Shape of ``W``; symmetric up to the normalization by ``rows``.
    variance : float
        Variance of the entries.

    References
    ----------
    Johnstone (2001), Annals of Statistics 29, theorem 1.1.

    Examples
    --------
    >>> from analysis.spectra import tracy_widom_edge
    >>> edge = tracy_widom_edge(rows=1000, columns=250)
    >>> round(edge.center, 3), round(edge.threshold(), 3)  # the limit of the edge is 2.25
    (2.248, 2.335)
    """
    if rows < 2 or columns < 1:
        raise ValueError(f"the edge law needs at least 2 rows and 1 column, got {rows} x {columns}")
    a, b = math.sqrt(rows - 1), math.sqrt(columns)
    return TracyWidomEdge(
        center=variance * (a + b) ** 2 / rows,
        scale=variance * (a + b) * (1 / a + 1 / b) ** (1 / 3) / rows,
    )


def fit_variance(eigenvalues: Float[np.ndarray, " n"], ratio: float) -> float:
    """Entry variance of the bulk: median non-zero eigenvalue over that of the unit-variance law.

    The median ignores a few outliers, unlike the mean. Where the weights at step 0 are available, the
    variance of their entries is the better choice.

    Parameters
    ----------
    eigenvalues : ndarray (n,)
        Eigenvalues of ``W.T @ W / rows``; the ``n (1 - 1/c)`` structural zeros may be present or not.
    ratio : float
        ``columns / rows``.
    """
    positive = eigenvalues[eigenvalues > 1e-12 * max(float(np.max(eigenvalues, initial=0.0)), 1e-300)]
    if positive.size == 0:
        raise ValueError("no positive eigenvalue: the weight is zero and has no bulk variance")
    law = MarchenkoPastur(ratio)
    middle = law.atom + 0.5 * (1.0 - law.atom)
    return float(np.median(positive) / law.quantile(np.array([middle]))[0])
