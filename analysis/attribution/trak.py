"""TRAK: attribution by a linear model in sketched log-odds gradients, averaged over networks (arXiv:2303.14186)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.linalg import eigh

from analysis.checks import check_finite
from kernels.arguments import checked_arguments


@dataclass(frozen=True)
class TrakNetwork:
    """What one network of the ensemble contributes.

    Attributes
    ----------
    train, test : ndarray, shapes (n, k), (m, k)
        φ = S ∇ log(p_y / (1 - p_y)), sketched with the same S within this network; on test points y is the
        class that is attributed.
    probability : ndarray, shape (n,)
        p of each training point's own label.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.attribution import TrakNetwork, trak_scores
    >>> rng = np.random.default_rng(0)
    >>> one, other = (
    ...     TrakNetwork(rng.normal(size=(50, 8)), rng.normal(size=(3, 8)), rng.uniform(size=50)) for _ in range(2)
    ... )
    >>> trak_scores([one, other]).scores.shape
    (3, 50)
    """

    train: Float[np.ndarray, "n k"]
    test: Float[np.ndarray, "m k"]
    probability: Float[np.ndarray, " n"]


@dataclass(frozen=True)
class TrakScores:
    """Scores (m, n) and the condition number of each network's ΦᵀΦ + λI."""

    scores: Float[np.ndarray, "m n"]
    condition: list[float]


@checked_arguments
def trak_scores(networks: Sequence[TrakNetwork], ridge: float = 0.0) -> TrakScores:
    """Score mean_M[φ(x)ᵀ(ΦᵀΦ + λI)⁻¹φ_i] · mean_M[1 - p_i].

    Parameters
    ----------
    networks : sequence of TrakNetwork
        Independently trained networks, usually on random halves of the data.
    ridge : float
        λ relative to the mean eigenvalue of ΦᵀΦ.

    Returns
    -------
    TrakScores

    Raises
    ------
    ValueError
        If ΦᵀΦ + λI is singular (k > n or duplicated directions, with ridge 0): the condition number is shown. If
        shapes do not belong together, values are not finite, or a probability is none.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.attribution import TrakNetwork, trak_scores
    >>> train, test = np.array([[2.0, 0.0], [0.0, 1.0], [1.0, 1.0]]), np.array([[1.0, 0.0]])
    >>> trak_scores([TrakNetwork(train, test, np.full(3, 0.5))]).scores.round(3)
    array([[ 0.222, -0.056,  0.056]])
    """
    if not networks:
        raise ValueError("TRAK needs at least one network.")
    if ridge < 0:
        raise ValueError(f"ridge must be at least 0, got {ridge}.")
    products, doubts, condition = [], [], []
    for place, one in enumerate(networks):
        _check(one, networks[0], place)
        gram = one.train.T.astype(np.float64) @ one.train.astype(np.float64)
        values, vectors = eigh(gram)
        damped = values + ridge * values.mean()
        smallest, largest = float(damped[0]), float(damped[-1])
        if smallest <= 1e-13 * largest:
            raise ValueError(
                f"ΦᵀΦ of {one.train.shape[0]} points in {one.train.shape[1]} dimensions is singular (λ_min "
                f"{smallest:.3g}, λ_max {largest:.3g}): pass ridge, for example 1e-3, or a smaller sketch."
            )
        condition.append(largest / smallest)
        products.append((one.test @ vectors / damped) @ (one.train @ vectors).T)
        doubts.append(1 - one.probability.astype(np.float64))
    return TrakScores(np.mean(products, axis=0) * np.mean(doubts, axis=0), condition)


def _check(one: TrakNetwork, first: TrakNetwork, place: int) -> None:
    """Refuse a network whose arrays do not belong together, or are not of the same points as the first one's."""
    n, m = len(first.train), len(first.test)
    shapes = (one.train.shape[1:], one.test.shape, one.probability.shape)
    if len(one.train) != n or shapes != (one.test.shape[1:], (m, *one.train.shape[1:]), (n,)):
        raise ValueError(
            f"networks[{place}]: train {one.train.shape}, test {one.test.shape} and probability "
            f"{one.probability.shape} must be ({n}, k), ({m}, k) and ({n},), with the points of networks[0]."
        )
    parts = {"train": one.train, "test": one.test, "probability": one.probability}
    check_finite(**{f"networks[{place}].{name}": part for name, part in parts.items()})
    if not ((one.probability >= 0) & (one.probability <= 1)).all():
        raise ValueError(f"networks[{place}].probability must lie between 0 and 1.")
