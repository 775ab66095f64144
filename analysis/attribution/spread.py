"""Which training points make seeds disagree: the derivative of a variance over seeds by the weight of each point."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from analysis.checks import check_finite
from kernels.arguments import checked_arguments


@checked_arguments
def spread_scores(values: Float[np.ndarray, "s m"], derivatives: Float[np.ndarray, "s m n"]) -> Float[np.ndarray, " n"]:
    """Differentiate the variance over seeds, mean over test points, by the weight of each training point.

    With v_s(x) a measure of test point x under seed s and d_si(x) its derivative by the weight w_i of training point i
    through the whole training of that seed, ∂Var/∂w_i = 2/(S - 1) Σ_s (v_s - v̄) d_si.

    Parameters
    ----------
    values : ndarray, shape (s, m)
        At least two seeds.
    derivatives : ndarray, shape (s, m, n)

    Returns
    -------
    ndarray, shape (n,)
        Positive: more weight on the point makes seeds differ more; without it they agree better, to first order.

    Raises
    ------
    ValueError
        If there is one seed, shapes do not belong together, or a value is not finite.

    References
    ----------
    Attribution of a distribution over trainings follows from that of single ones (MAGIC, arXiv:2503.13751) by the chain
    rule.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.attribution import spread_scores
    >>> values = np.array([[0.2], [0.8]])  # two seeds, one test point
    >>> pulls = np.array([[[-1.0, 1.0]], [[1.0, 1.0]]])  # point 0 pulls the seeds apart, point 1 moves both alike
    >>> spread_scores(values, pulls).round(9) + 0.0
    array([1.2, 0. ])
    """
    if len(values) < 2:
        raise ValueError("A variance over seeds needs at least 2 of them.")
    check_finite(values=values, derivatives=derivatives)
    centered = values - values.mean(0)
    return 2 / (len(values) - 1) * np.einsum("sm,smn->n", centered, derivatives) / values.shape[1]


@checked_arguments
def pairwise_churn(decisions: Int[np.ndarray, "s m"]) -> float:
    """Share of test points that two seeds decide differently, mean over all pairs.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.attribution.spread import pairwise_churn
    >>> pairwise_churn(np.array([[0, 1], [0, 1], [0, 2]]))  # two of three pairs differ at one of two points
    0.3333333333333333
    """
    seeds = len(decisions)
    if seeds < 2:
        raise ValueError("Churn needs at least 2 seeds.")
    pairs = [(decisions[a] != decisions[b]).mean() for a in range(seeds) for b in range(a + 1, seeds)]
    return float(np.mean(pairs))
