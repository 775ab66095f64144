"""TracIn: attribution by products of loss gradients along training (arXiv:2002.08484)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Float

from analysis.checks import check_finite
from kernels.arguments import checked_arguments
from kernels.arrays import as_array


@checked_arguments
def tracin_scores(
    grams: Iterable[Float[np.ndarray, "m n"]], learning_rates: Sequence[float]
) -> Float[np.ndarray, "m n"]:
    """Sum loss-gradient products over checkpoints: Σ_t η_t g_t(x)·g_t(x_i).

    Parameters
    ----------
    grams : iterable of ndarray, shape (m, n)
        Unnormalized loss-gradient kernels, test against training points, one per checkpoint. Consumed one at a
        time.
    learning_rates : sequence of float
        Step size at each checkpoint. One checkpoint with rate 1 gives Grad-Dot.

    Returns
    -------
    ndarray, shape (m, n)
        Positive: a step on x_i lowers the loss of x.

    Raises
    ------
    ValueError
        If there are no kernels, or not one rate each, or kernels of other shapes or with values that are not finite.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.attribution import tracin_scores
    >>> grams = [np.array([[2.0, -1.0]]), np.array([[0.5, 0.5]])]  # one loss-gradient kernel per checkpoint
    >>> tracin_scores(grams, learning_rates=[0.1, 0.01])
    array([[ 0.205, -0.095]])
    """
    rates = list(learning_rates)
    if any(not 0 <= rate < np.inf for rate in rates):
        raise ValueError(f"learning_rates={rates} must be finite and at least 0.")
    total: np.ndarray | None = None
    used = 0
    for gram in grams:
        if used == len(rates):
            raise ValueError(f"More kernels than the {len(rates)} learning rates: pass one rate per checkpoint.")
        part = as_array(gram, f"grams[{used}]").astype(np.float64)
        if part.ndim != 2 or (total is not None and part.shape != total.shape):
            wanted = "(test, train)" if total is None else f"{total.shape} like the first"
            raise ValueError(f"grams[{used}] has the shape {part.shape}, {wanted} is needed.")
        check_finite(**{f"grams[{used}]": part})
        part *= rates[used]
        total = part if total is None else total + part
        used += 1
    if total is None or used != len(rates):
        raise ValueError(f"{used} kernels for {len(rates)} learning rates: pass one rate per checkpoint.")
    return total


@checked_arguments
def tracin_self_influence(
    diagonals: Iterable[Float[np.ndarray, " n"]], learning_rates: Sequence[float]
) -> Float[np.ndarray, " n"]:
    """Sum η_t ‖g_t(x_i)‖² over checkpoints: large for mislabeled and untypical training points.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.attribution import tracin_self_influence
    >>> squared_norms = [np.array([1.0, 9.0, 1.5]), np.array([0.2, 6.0, 0.1])]  # one row per checkpoint
    >>> tracin_self_influence(squared_norms, [0.1, 0.1])  # the second point is learned against the others
    array([0.12, 1.5 , 0.16])
    """
    return tracin_scores((as_array(one, "diagonals")[None] for one in diagonals), learning_rates)[0]
