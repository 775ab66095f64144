"""TracIn: attribution by products of loss gradients along training (arXiv:2002.08484)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Float


def tracin_scores(
    grams: Iterable[Float[np.ndarray, "m n"]], learning_rates: Sequence[float]
) -> Float[np.ndarray, "m n"]:
    """Sum loss-gradient products over checkpoints: Σ_t η_t g_t(x)·g_t(x_i).

    Parameters
    ----------
    grams : iterable of ndarray, shape (m, n)
        Unnormalised loss-gradient kernels, test against training points, one per checkpoint. Consumed one at a
        time.
    learning_rates : sequence of float
        Step size at each checkpoint. One checkpoint with rate 1 gives Grad-Dot.

    Returns
    -------
    ndarray, shape (m, n)
        Positive: a step on x_i lowers the loss of x.
    """
    rates = list(learning_rates)
    total: np.ndarray | None = None
    used = 0
    for gram in grams:
        if used == len(rates):
            raise ValueError(f"More kernels than the {len(rates)} learning rates: pass one rate per checkpoint.")
        part = rates[used] * np.asarray(gram, np.float64)
        total = part if total is None else total + part
        used += 1
    if total is None or used != len(rates):
        raise ValueError(f"{used} kernels for {len(rates)} learning rates: pass one rate per checkpoint.")
    return total


def tracin_self_influence(
    diagonals: Iterable[Float[np.ndarray, " n"]], learning_rates: Sequence[float]
) -> Float[np.ndarray, " n"]:
    """Sum η_t ‖g_t(x_i)‖² over checkpoints: large for mislabelled and untypical training points."""
    return tracin_scores((diagonal[None] for diagonal in diagonals), learning_rates)[0]
