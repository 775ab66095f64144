"""Rank correlations of confidences: Kendall's τ, Spearman's ρ, and ranks that rounding cannot break apart."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.stats import kendalltau, spearmanr

ROUNDING = 1e-9
"""Values closer than this share of their column's mean magnitude are equal."""


def rounded_ranks(values: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n k"]:
    """Dense ranks of each column, equal where values differ by rounding alone.

    Log-odds of equal votes or of equal scores come out of a logarithm of a sum, whose last bits depend on the order
    of the terms. Ranked as they are, they would break ties by rounding.

    Parameters
    ----------
    values : ndarray, shape (n, k)
        Finite. Sorted values closer than 1e-9 of the column's mean magnitude share a rank.

    Returns
    -------
    ndarray, shape (n, k)
        0 for the smallest value of a column, and so on without gaps.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.surrogates import rounded_ranks
    >>> rounded_ranks(np.array([[0.1 + 0.2], [0.5], [0.3]])).ravel()
    array([0., 1., 0.])
    """
    ranks = np.zeros(values.shape)
    if not len(values):
        return ranks
    for column, rank in zip(values.T, ranks.T, strict=True):
        order = np.argsort(column, kind="stable")
        apart = np.diff(column[order]) > ROUNDING * np.abs(column).mean()
        rank[order[1:]] = np.cumsum(apart)
    return ranks


def kendall_tau(a: Float[np.ndarray, "n k"], b: Float[np.ndarray, "n k"]) -> float:
    """Kendall's τ_b in O(n log n), averaged over columns; NaN if a column is constant.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.surrogates import kendall_tau
    >>> network, surrogate = np.array([[0.1], [0.5], [2.0], [3.0]]), np.array([[0.0], [0.9], [0.8], [4.0]])
    >>> round(kendall_tau(network, surrogate), 3)
    0.667
    """
    if len(a) < 2:
        return float("nan")
    return float(np.mean([kendalltau(x, y).statistic for x, y in zip(a.T, b.T, strict=True)]))


def spearman(a: Float[np.ndarray, "n k"], b: Float[np.ndarray, "n k"]) -> float:
    """Spearman's ρ, averaged over columns; NaN if a column is constant."""
    return float(np.mean([_rank_correlation(x, y) for x, y in zip(a.T, b.T, strict=True)]))


def _rank_correlation(x: np.ndarray, y: np.ndarray) -> float:
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan")
    return float(spearmanr(x, y).statistic)


def tied_points(values: Float[np.ndarray, "n k"]) -> int:
    """Count points that share a value with another point in some column."""
    tied = np.zeros(len(values), bool)
    for column in values.T:
        _, inverse, counts = np.unique(column, return_inverse=True, return_counts=True)
        tied |= counts[inverse] > 1
    return int(tied.sum())
