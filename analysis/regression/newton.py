"""What every Newton fit of a logistic machine shares: labels, derivatives in the margins, and the step length."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from scipy import special


def logistic_pull(margins: Float[np.ndarray, " n"]) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """First derivative of log(1 + exp(-m)), sign reversed, and the second one, at every margin m = y f(x)."""
    pull = special.expit(-margins)
    return pull, pull * special.expit(margins)


def halved_step(objective: Callable[[float], float], value: float, fall: float) -> tuple[float, float]:
    """Halve a Newton step until the objective falls by 1e-4 of what its slope promises (Armijo's rule).

    Parameters
    ----------
    objective : callable
        Objective after a step of the given length.
    value : float
        Objective before the step.
    fall : float
        Gradient times full step.

    Returns
    -------
    length, value : float
        Length of the step and the objective after it; length 0 where float64 cannot lower the objective.
    """
    length = 1.0
    while length > 1e-10:
        fresh = objective(length)
        if fresh <= value - 1e-4 * length * fall:
            return length, fresh
        length /= 2.0
    return 0.0, value


def binary_signs(labels: np.ndarray, n: int) -> np.ndarray:
    """Read ±1 or 0/1 labels of n points as ±1, refusing anything else and a single class."""
    values = np.asarray(labels, np.float64).reshape(-1)
    if values.size != n:
        raise ValueError(f"{n} training points but {values.size} labels.")
    found, counts = np.unique(values, return_counts=True)
    if not (np.isin(found, (-1.0, 1.0)).all() or np.isin(found, (0.0, 1.0)).all()):
        raise ValueError(f"binary logistic regression takes labels ±1 or 0/1, found {found[:5].tolist()}.")
    if found.size < 2:
        raise ValueError(f"only one class is present: {int(counts[0])} rows of label {found[0]:g}.")
    return np.where(values > 0, 1.0, -1.0)


def refuse_non_finite(values: np.ndarray, name: str) -> None:
    """Refuse a matrix with NaN or infinity, naming the first row."""
    broken = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if broken.size:
        raise ValueError(f"{name}: {broken.size} rows hold NaN or infinity, first row {broken[0]}.")
