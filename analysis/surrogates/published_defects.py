"""Statistics as the published code computes them, so that its numbers can be shown next to the corrected ones.

The defects were found in the code that accompanies arXiv:2305.14585 (pnnl/projection_ntk). None is needed to use
the methods: compare with `analysis.surrogates.faithfulness`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import minimize
from scipy.special import softmax
from scipy.stats import kendalltau


@dataclass(frozen=True)
class PublishedTau:
    """Kendall's τ_b with the number of points ranked and dropped."""

    tau: float
    n: int
    dropped: int


def positive_class_tau(network: Float[np.ndarray, " n"], surrogate: Float[np.ndarray, " n"]) -> PublishedTau:
    """Rank the positive class's probabilities; points at exactly 0 or 1 in either model drop out.

    Parameters
    ----------
    network, surrogate : ndarray of float32 or float64, shape (n,)
        Probabilities of class 1. How many saturate depends on their precision.
    """
    kept = (network > 0) & (network < 1) & (surrogate > 0) & (surrogate < 1)
    tau = float(kendalltau(network[kept], surrogate[kept]).statistic) if kept.sum() > 1 else float("nan")
    return PublishedTau(tau, int(kept.sum()), int((~kept).sum()))


def one_hot_index_tau(
    network: Float[np.ndarray, "n C"], surrogate: Float[np.ndarray, "n C"], labels: Int[np.ndarray, " n"]
) -> PublishedTau:
    """Rank what a one-hot label picks as an index: column 0 of every point C-1 times and column 1 once."""
    one_hot = np.eye(network.shape[1], dtype=np.int64)[labels]
    rows = np.arange(len(labels))[:, None]
    a, b = network[rows, one_hot].ravel(), surrogate[rows, one_hot].ravel()
    return PublishedTau(float(kendalltau(a, b).statistic), a.size, 0)


def r2_over_test_points(network: Float[np.ndarray, "n C"], surrogate: Float[np.ndarray, "n C"]) -> float:
    """Return R² as published: softmax over the test points, a Nelder-Mead line, and the two arguments exchanged.

    Parameters
    ----------
    network, surrogate : ndarray, shape (n, C)
        Logits. The residual is divided by the variance of the fitted values rather than of the network's.
    """
    target, source = (np.log(softmax(s, axis=0)).ravel() for s in (network, surrogate))
    line = minimize(
        lambda p: float(((p[0] * source + p[1] - target) ** 2).mean()), np.array([1.0, 0.0]), method="Nelder-Mead"
    ).x
    fitted = line[0] * source + line[1]
    return float(1 - ((fitted - target) ** 2).sum() / ((fitted - fitted.mean()) ** 2).sum())
