"""Eigenvalues that leave the bulk: their number, what a planted spike predicts, what perturbations allow."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from analysis.spectra.marchenko_pastur import tracy_widom_edge


@dataclass(frozen=True)
class OutlierCount:
    """Eigenvalues beyond the upper edge of noise.

    Attributes
    ----------
    count : int
        Eigenvalues above ``threshold``.
    threshold : float
        Edge center plus ``margin`` Tracy-Widom scales.
    largest : float
        Largest eigenvalue.
    deviation : float
        ``(largest - center) / scale``, in Tracy-Widom scales.
    """

    count: int
    threshold: float
    largest: float
    deviation: float


def count_outliers(
    eigenvalues: Float[np.ndarray, " n"],
    rows: int,
    columns: int,
    variance: float = 1.0,
    margin: float = 4.0,
) -> OutlierCount:
    """Count the eigenvalues of ``W.T @ W / rows`` above the Tracy-Widom edge of noise.

    Parameters
    ----------
    eigenvalues : ndarray (n,)
        In any order; structural zeros do not matter.
    rows, columns : int
        Shape of ``W``.
    variance : float
        Entry variance of the bulk.
    margin : float
        Scales above the center. At four, Gaussian noise gives a false outlier in about 3 of 10,000 matrices of 60 x 60
        or 500 x 500; at five, in 4 of 100,000 of 60 x 60.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.spectra import count_outliers
    >>> noise = np.random.default_rng(0).standard_normal((200, 50))
    >>> eigenvalues = np.linalg.eigvalsh(noise.T @ noise / 200)
    >>> count_outliers(eigenvalues, 200, 50).count, count_outliers(np.append(eigenvalues, 4.0), 200, 50).count
    (0, 1)
    """
    edge = tracy_widom_edge(rows, columns, variance)
    largest = float(np.max(eigenvalues))
    threshold = edge.threshold(margin)
    return OutlierCount(
        count=int(np.sum(eigenvalues > threshold)),
        threshold=threshold,
        largest=largest,
        deviation=(largest - edge.center) / edge.scale,
    )


@dataclass(frozen=True)
class SpikePrediction:
    """What a rank-one spike does to a noise matrix in the limit.

    Attributes
    ----------
    is_outlier : bool
        The spike is stronger than ``c**0.25``.
    eigenvalue : float
        Limit of the largest eigenvalue of the spiked ``M.T @ M``.
    overlap_columns, overlap_rows : float
        Limits of the squared inner product of the top right (columns side) and left (rows side)
        singular vector with the planted one; zero below the threshold.
    """

    is_outlier: bool
    eigenvalue: float
    overlap_columns: float
    overlap_rows: float


def spike_threshold(ratio: float) -> float:
    """Weakest spike that leaves the bulk, ``(columns / rows)**0.25`` in units of ``sqrt(rows)`` noise."""
    return ratio**0.25


def predict_spike(strength: float, ratio: float) -> SpikePrediction:
    """Largest eigenvalue and overlaps of ``Z / sqrt(rows) + strength * u v^T``.

    Parameters
    ----------
    strength : float
        Singular value ``theta`` of the planted rank-one matrix.
    ratio : float
        ``c = columns / rows`` of ``Z``, which has unit-variance entries.

    References
    ----------
    Baik, Ben Arous and Peche (2005); Benaych-Georges and Nadakuditi (2012), section 3.1.

    Examples
    --------
    >>> from analysis.spectra import predict_spike
    >>> for strength in (0.6, 0.8, 1.6):  # a planted direction is invisible below 0.25 ** 0.25 = 0.71
    ...     found = predict_spike(strength, ratio=0.25)
    ...     print(found.is_outlier, round(found.eigenvalue, 2), round(found.overlap_columns, 2))
    False 2.25 0.0
    True 2.28 0.28
    True 3.91 0.88
    """
    if strength < 0 or ratio <= 0:
        raise ValueError(f"strength must be >= 0 and ratio > 0, got {strength} and {ratio}")
    if strength <= spike_threshold(ratio):
        return SpikePrediction(False, (1 + math.sqrt(ratio)) ** 2, 0.0, 0.0)
    square = strength**2
    return SpikePrediction(
        is_outlier=True,
        eigenvalue=(1 + square) * (ratio + square) / square,
        overlap_columns=1 - ratio * (1 + square) / (square * (square + ratio)),
        overlap_rows=1 - (ratio + square) / (square * (square + 1)),
    )


def spike_margin(change_norm: float, rows: int, columns: int, variance: float = 1.0) -> float:
    """Operator norm of a weight change over the weakest change that could leave the bulk.

    ``sigma_1(Delta W) / sqrt(rows * variance) / c**0.25``. It predicts but does not prove: the change
    depends on the weights that it is added to, so values a little above one may show no outlier.

    Parameters
    ----------
    change_norm : float
        ``sigma_1(Delta W)``.
    rows, columns : int
        Shape of ``W``.
    variance : float
        Entry variance of the weights before the change.
    """
    return change_norm / math.sqrt(rows * variance) / spike_threshold(columns / rows)


def check_perturbation_bounds(
    before: Float[np.ndarray, " k"],
    after: Float[np.ndarray, " k"],
    change: Float[np.ndarray, " k"],
    tolerance: float = 1e-5,
) -> None:
    """Verify the inequalities of Weyl and Hoffman-Wielandt between two checkpoints.

    They hold for every pair of matrices, so a violation means that spectra of different weights were
    mixed up or that a spectrum lost precision.

    Parameters
    ----------
    before, after : ndarray (k,)
        Singular values of the weight at both checkpoints.
    change : ndarray (k,)
        Singular values of their difference.
    tolerance : float
        Relative slack for rounding.

    Raises
    ------
    ArithmeticError
        When a bound is violated.
    """
    gap = np.sort(after)[::-1] - np.sort(before)[::-1]
    slack = tolerance * max(float(np.max(before)), float(np.max(after)))
    worst, norm = float(np.max(np.abs(gap))), float(np.max(change))
    if worst > norm + slack:
        raise ArithmeticError(
            f"Weyl's inequality fails: a singular value moved by {worst:.6g} but the change has operator "
            f"norm {norm:.6g}; are both spectra of the same weight?"
        )
    moved, frobenius = float(np.linalg.norm(gap)), float(np.linalg.norm(change))
    if moved > frobenius + slack * math.sqrt(len(gap)):
        raise ArithmeticError(
            f"the Hoffman-Wielandt inequality fails: the spectrum moved by {moved:.6g} but the change has "
            f"Frobenius norm {frobenius:.6g}; are both spectra of the same weight?"
        )
