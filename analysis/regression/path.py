"""Errors of linear smoothers along ranks or penalties, and the choice between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float


class SmootherScores(NamedTuple):
    """Scores of one linear smoother H; see `RegressionPath` for their meaning."""

    train: float
    loo: float
    gcv: float
    dimension: float
    skipped: int


@dataclass(frozen=True)
class RegressionPath:
    """Errors along ranks or penalties, all from one factorization.

    Attributes
    ----------
    parameter : ndarray, shape (g,)
        Ranks or penalties λ.
    train, loo, gcv : ndarray, shape (g,)
        Root mean square training residual, root mean square leave-one-out residual, and GCV score. Leave-one-out
        is exact for fixed λ; along ranks it holds the basis fixed. Infinite where no point can be left out.
    dimension : ndarray, shape (g,)
        Effective dimension tr H.
    skipped : int ndarray, shape (g,)
        Points with leverage within 1e-9 of one, left out of the leave-one-out mean.
    """

    parameter: Float[np.ndarray, " g"]
    train: Float[np.ndarray, " g"]
    loo: Float[np.ndarray, " g"]
    gcv: Float[np.ndarray, " g"]
    dimension: Float[np.ndarray, " g"]
    skipped: np.ndarray

    def best(self, criterion: Literal["loo", "gcv"] = "loo") -> float:
        """Return the rank or penalty with the smallest score; the simpler model (first entry) wins a tie."""
        scores = getattr(self, criterion)
        if not np.isfinite(scores).any():
            raise ValueError(f"no entry of the path has a finite {criterion} score: every point has leverage one.")
        return float(self.parameter[int(np.nanargmin(scores))])

    @classmethod
    def from_scores(cls, parameter: Sequence[float], scores: Sequence[SmootherScores]) -> RegressionPath:
        """Collect one `SmootherScores` for each rank or penalty."""
        columns = [np.asarray(column) for column in zip(*scores, strict=True)]
        return cls(np.asarray(parameter, np.float64), *columns)


def smoother_scores(residual: Float[np.ndarray, "n C"], leverage: Float[np.ndarray, " n"]) -> SmootherScores:
    """Score a smoother from its residual (I - H)y and its leverages H_ii.

    Leave-one-out residuals are e_i/(1 - H_ii); GCV is n‖(I - H)y‖²/tr(I - H)². Points with leverage one cannot be
    left out; where they are more than half, the leave-one-out score is infinite.
    """
    n = leverage.size
    free = 1.0 - leverage
    usable = free > 1e-9
    loo = np.inf
    if np.count_nonzero(usable) * 2 >= n:
        loo = float(np.sqrt(np.mean((residual[usable] / free[usable, None]) ** 2)))
    left = float(free.sum())
    gcv = n * float(np.square(residual).sum()) / left**2 if left > 1e-9 * n else np.inf
    train = float(np.sqrt(np.mean(residual**2)))
    return SmootherScores(train, loo, gcv, float(leverage.sum()), int(n - np.count_nonzero(usable)))
