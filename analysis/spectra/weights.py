"""Singular spectra of weights: distances to a law and to the start, norms of change, alignment."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from scipy.linalg import eigh
from scipy.stats import ks_2samp, wasserstein_distance
from torch import Tensor

from analysis.spectra.marchenko_pastur import MarchenkoPastur, fit_variance
from analysis.spectra.outliers import check_perturbation_bounds, count_outliers, spike_margin
from kernels.arguments import checked_arguments


def _as_matrix(weight: Tensor | np.ndarray) -> np.ndarray:
    """Float64 array of a floating-point, finite matrix."""
    if isinstance(weight, Tensor):
        if not weight.is_floating_point():
            raise TypeError(f"cannot take the spectrum of quantized storage ({weight.dtype})")
        weight = weight.detach().to("cpu", torch.float64).numpy()
    matrix = np.asarray(weight, dtype=np.float64)
    if matrix.ndim != 2:
        raise ValueError(f"expected a matrix, got shape {matrix.shape}; see matrix_views")
    if not np.all(np.isfinite(matrix)):
        bad = int(np.sum(~np.isfinite(matrix)))
        raise ValueError(f"{bad} of {matrix.size} entries are not finite: training diverged before this step")
    return matrix


def _small_gram(matrix: np.ndarray) -> np.ndarray:
    """Gram matrix of the shorter side."""
    return matrix @ matrix.T if matrix.shape[0] < matrix.shape[1] else matrix.T @ matrix


@checked_arguments
def weight_spectrum(weight: Float[Tensor, "m n"] | Float[np.ndarray, "m n"]) -> Float[np.ndarray, " k"]:
    """All ``min(m, n)`` singular values, descending, float64.

    Through the float64 Gram matrix of the shorter side: four times faster than an SVD and accurate to
    about 1e-8 of the largest value, far below the smallest ones of a trained layer's bulk.

    Raises
    ------
    ValueError
        For entries that are not finite, with their count.
    TypeError
        For quantized storage.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.spectra import weight_spectrum
    >>> weight_spectrum(np.array([[3.0, 0.0, 0.0], [0.0, -4.0, 0.0]])).tolist()
    [4.0, 3.0]
    """
    squares = np.linalg.eigvalsh(_small_gram(_as_matrix(weight)))
    return np.sqrt(np.maximum(squares, 0.0))[::-1].copy()


@dataclass(frozen=True)
class LeadingVectors:
    """Leading singular triplets, strongest first."""

    values: Float[np.ndarray, " k"]
    left: Float[np.ndarray, "m k"]
    right: Float[np.ndarray, "n k"]


def leading_vectors(weight: Float[Tensor, "m n"] | Float[np.ndarray, "m n"], count: int = 1) -> LeadingVectors:
    """Leading singular values and vectors of a matrix.

    Signs are fixed so that the entry of largest magnitude of each right vector is positive.
    """
    matrix = _as_matrix(weight)
    size = min(matrix.shape)
    if not 1 <= count <= size:
        raise ValueError(f"count must be between 1 and {size}, got {count}")
    squares, short = eigh(_small_gram(matrix), subset_by_index=[size - count, size - 1])
    values, short = np.sqrt(np.maximum(squares, 0.0))[::-1], short[:, ::-1]
    safe = np.maximum(values, np.finfo(np.float64).tiny)
    wide = matrix.shape[0] < matrix.shape[1]
    left, right = (short, matrix.T @ short / safe) if wide else (matrix @ short / safe, short)
    sign = np.sign(right[np.argmax(np.abs(right), axis=0), np.arange(count)])
    sign[sign == 0] = 1.0
    return LeadingVectors(values.copy(), left * sign, right * sign)


def alignment(vector: Float[np.ndarray, " n"], direction: Float[np.ndarray, " n"]) -> float:
    """Absolute cosine of two vectors; about ``n**-0.5`` by chance."""
    norms = float(np.linalg.norm(vector) * np.linalg.norm(direction))
    if norms == 0:
        raise ValueError("alignment with a zero vector is not defined")
    return float(abs(vector @ direction)) / norms


def normalized_eigenvalues(
    singular: Float[np.ndarray, " k"], shape: tuple[int, int], variance: float
) -> Float[np.ndarray, " k"]:
    """Eigenvalues ``s**2 / (long side * variance)``: Marchenko-Pastur of ratio short / long for noise."""
    return singular**2 / (max(shape) * variance)


def ks_to_law(
    sample: Float[np.ndarray, " n"], cdf: Callable[[Float[np.ndarray, " n"]], Float[np.ndarray, " n"]]
) -> float:
    """Kolmogorov-Smirnov distance of a spectrum to a law (continuous, or with zeros left out of both)."""
    values = cdf(np.sort(sample))
    grid = np.arange(values.size + 1) / values.size
    return float(max(np.max(grid[1:] - values), np.max(values - grid[:-1])))


def wasserstein_to_law(
    sample: Float[np.ndarray, " n"], quantile: Callable[[Float[np.ndarray, " n"]], Float[np.ndarray, " n"]]
) -> float:
    """Wasserstein-1 distance to a law, its quantile function taken at the mid-ranks."""
    ranks = (np.arange(sample.size) + 0.5) / sample.size
    return float(np.mean(np.abs(np.sort(sample) - quantile(ranks))))


def ks_between(first: Float[np.ndarray, " n"], second: Float[np.ndarray, " m"]) -> float:
    """Kolmogorov-Smirnov distance of two spectra."""
    return float(ks_2samp(first, second, method="asymp").statistic)


def wasserstein_between(first: Float[np.ndarray, " n"], second: Float[np.ndarray, " m"]) -> float:
    """Wasserstein-1 distance of two spectra."""
    return float(wasserstein_distance(first, second))


def stable_rank(singular: Float[np.ndarray, " k"]) -> float:
    """``||W||_F**2 / ||W||_op**2``; zero for a zero matrix."""
    top = float(np.max(singular))
    return float(np.sum((singular / top) ** 2)) if top > 0 else 0.0


@dataclass(frozen=True)
class SpectrumRow:
    """One line of the spectra table: a matrix at one step. NaN where a quantity has no reference.

    Attributes
    ----------
    status : str
        ``ok`` or ``failed`` (weights not finite).
    note : str
        What the reader has to know, such as why there is no law.
    rows, columns : int
    variance : float
        Entry variance that scales the eigenvalues.
    largest, threshold, deviation : float
        Largest normalized eigenvalue, outlier threshold, distance to the edge in Tracy-Widom scales.
    outliers : int
        Eigenvalues above the threshold; -1 where there is no law.
    ks_law, wasserstein_law : float
        Distances of the normalized spectrum to Marchenko-Pastur.
    ks_start, wasserstein_start : float
        Distances to the run's own spectrum at the start.
    stable_rank : float
    change_frobenius, change_operator : float
        ``||Delta W||_F`` and ``||Delta W||_op`` over ``sqrt(columns * variance)``; with unit variance
        this is ``Delta W / sqrt(d)`` of arXiv:2211.06506.
    change_stable_rank : float
    margin : float
        ``||Delta W||_op`` over the weakest norm that could make an outlier.
    """

    status: str
    note: str
    rows: int
    columns: int
    variance: float = math.nan
    largest: float = math.nan
    threshold: float = math.nan
    deviation: float = math.nan
    outliers: int = -1
    ks_law: float = math.nan
    wasserstein_law: float = math.nan
    ks_start: float = math.nan
    wasserstein_start: float = math.nan
    stable_rank: float = math.nan
    change_frobenius: float = math.nan
    change_operator: float = math.nan
    change_stable_rank: float = math.nan
    margin: float = math.nan


def reference_law(start: Float[np.ndarray, " k"], shape: tuple[int, int]) -> tuple[MarchenkoPastur | None, float, str]:
    """Determine whether a weight's first spectrum is that of iid entries.

    Parameters
    ----------
    start : ndarray (k,)
        Singular values at step 0.
    shape : (int, int)

    Returns
    -------
    law : MarchenkoPastur or None
        Unit-variance law of the normalized eigenvalues, None where the start is not iid.
    variance : float
        Mean square of the entries at step 0 (1 for a zero start, so that nothing is rescaled).
    note : str
        Why there is no law; empty otherwise.
    """
    variance = float(np.sum(start**2)) / (shape[0] * shape[1])
    if variance == 0:
        return None, 1.0, "zero at step 0: compared with step 0, not with Marchenko-Pastur"
    law = MarchenkoPastur(min(shape) / max(shape))
    distance = ks_to_law(normalized_eigenvalues(start, shape, variance), law.cdf)
    if distance > max(6.0 / start.size, 0.03):
        note = f"not iid at step 0 (KS {distance:.3f} to Marchenko-Pastur): compared with step 0"
        return None, variance, note
    return law, variance, ""


@checked_arguments
def describe_spectrum(
    singular: Float[np.ndarray, " k"],
    shape: tuple[int, int],
    *,
    start: Float[np.ndarray, " k"] | None = None,
    change: Float[np.ndarray, " k"] | None = None,
    variance: float | None = None,
) -> SpectrumRow:
    """Summarize one spectrum against the Marchenko-Pastur law and against the start of its own run.

    Parameters
    ----------
    singular : ndarray (k,)
        Singular values now.
    shape : (int, int)
        Rows and columns of the matrix.
    start : ndarray (k,), optional
        Singular values at step 0; they also give the variance and determine whether there is a law. Without
        them the variance comes from the median of the bulk.
    change : ndarray (k,), optional
        Singular values of the weight minus its start. The inequalities of Weyl and Hoffman-Wielandt are
        then checked.
    variance : float, optional
        Entry variance, where it is known.

    Raises
    ------
    ArithmeticError
        When the three spectra contradict each other.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.spectra import describe_spectrum, weight_spectrum
    >>> rng = np.random.default_rng(0)
    >>> start = rng.standard_normal((60, 80))
    >>> spike = 30.0 * np.outer(rng.standard_normal(60), rng.standard_normal(80)) / 60**0.5 / 80**0.5
    >>> row = describe_spectrum(weight_spectrum(start + spike), (60, 80), start=weight_spectrum(start))
    >>> row.outliers, round(row.ks_start, 2)  # training added one direction and left the bulk
    (1, 0.02)
    """
    if not np.all(np.isfinite(singular)):
        return failed_row(shape, "spectrum is not finite")
    ratio = min(shape) / max(shape)
    law: MarchenkoPastur | None = MarchenkoPastur(ratio)
    note = ""
    if start is not None:
        law, measured, note = reference_law(start, shape)
    elif variance is None:
        measured, note = fit_variance(singular**2 / max(shape), ratio), "variance from the bulk median"
    else:
        measured = variance
    scale = measured if variance is None else variance
    eigenvalues = normalized_eigenvalues(singular, shape, scale)
    values: dict[str, float] = {"variance": scale, "largest": float(eigenvalues.max())}
    values["stable_rank"] = stable_rank(singular)
    outliers = -1
    if law is not None:
        count = count_outliers(eigenvalues, max(shape), min(shape))
        outliers = count.count
        values |= {"threshold": count.threshold, "deviation": count.deviation}
        values["ks_law"] = ks_to_law(eigenvalues, law.cdf)
        values["wasserstein_law"] = wasserstein_to_law(eigenvalues, law.quantile)
    if start is not None:
        first = normalized_eigenvalues(start, shape, scale)
        values["ks_start"] = ks_between(eigenvalues, first)
        values["wasserstein_start"] = wasserstein_between(eigenvalues, first)
        if change is not None:
            check_perturbation_bounds(start, singular, change)
    if change is not None:
        unit = math.sqrt(shape[1] * scale)
        values["change_frobenius"] = float(np.linalg.norm(change)) / unit
        values["change_operator"] = float(np.max(change)) / unit
        values["change_stable_rank"] = stable_rank(change)
        values["margin"] = spike_margin(float(np.max(change)), max(shape), min(shape), scale)
    return SpectrumRow("ok", note, shape[0], shape[1], outliers=outliers, **values)


def failed_row(shape: tuple[int, int], reason: str) -> SpectrumRow:
    """Row of a matrix whose spectrum could not be computed; training and the other rows continue."""
    return SpectrumRow("failed", reason, shape[0], shape[1])
