"""Kernel-target alignment of arrays: from a kernel or from its features, with a reason where it is undefined."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float

from kernels.diagnostics import target_alignment


@dataclass(frozen=True)
class Alignment:
    """A kernel-target alignment, or NaN with the reason why it is undefined."""

    value: float
    reason: str = ""


def _as_targets(targets: np.ndarray, centered: bool) -> tuple[np.ndarray, str]:
    """Targets as columns, centered if requested, and the reason why they carry no information."""
    columns = targets[:, None] if targets.ndim == 1 else targets
    if np.allclose(columns, columns[:1], rtol=0, atol=0):
        return columns, "constant labels: every kernel fits them alike"
    return (columns - columns.mean(0) if centered else columns), ""


def kernel_target_alignment(
    kernel: Float[np.ndarray, "n n"],
    targets: Float[np.ndarray, " n"] | Float[np.ndarray, "n c"],
    centered: bool = False,
) -> Alignment:
    """Cosine of ``K`` and ``Y Y^T``; for a vector of targets ``y^T K y / (||K||_F ||y||^2)``.

    Parameters
    ----------
    kernel : ndarray (n, n)
    targets : ndarray (n,) or (n, c)
        Regression targets, or one-hot classes (then ``centered`` is the meaningful choice).
    centered : bool
        Center kernel and targets first.

    Returns
    -------
    Alignment
        NaN with a reason where :func:`kernels.diagnostics.target_alignment` has nothing to align.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.spectra import kernel_target_alignment
    >>> y = np.array([1.0, 1.0, -1.0, -1.0])
    >>> kernel_target_alignment(np.outer(y, y), y).value, kernel_target_alignment(np.eye(4), y).value
    (1.0, 0.5)
    >>> kernel_target_alignment(np.eye(4), np.ones(4)).reason
    'constant labels: every kernel fits them alike'
    """
    y, reason = _as_targets(targets, centered)
    if not reason and not np.any(kernel):
        reason = "zero kernel"
    if reason:
        return Alignment(math.nan, reason)
    found = target_alignment(torch.from_numpy(kernel), torch.from_numpy(y), centered=centered)
    return Alignment(found)


def feature_target_alignment(
    features: Float[np.ndarray, "n h"],
    targets: Float[np.ndarray, " n"] | Float[np.ndarray, "n c"],
    centered: bool = False,
) -> Alignment:
    """Kernel-target alignment of ``features @ features.T`` without the n by n matrix.

    ``y^T K y = ||features^T y||^2`` and ``||K||_F = ||features^T features||_F``.

    References
    ----------
    Cristianini et al. (2001); centered form: Cortes, Mohri and Rostamizadeh (2012), JMLR 13.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.spectra import feature_target_alignment
    >>> features = np.array([[1.0, 0.2], [1.0, -0.2], [-1.0, 0.2], [-1.0, -0.2]])
    >>> round(feature_target_alignment(features, np.array([1.0, 1.0, -1.0, -1.0])).value, 4)
    0.9992
    """
    y, reason = _as_targets(targets, centered)
    if reason:
        return Alignment(math.nan, reason)
    if centered:
        features = features - features.mean(0)
    scale = float(np.linalg.norm(features.T @ features) * np.linalg.norm(y.T @ y))
    return Alignment(float(np.sum((features.T @ y) ** 2)) / scale) if scale else Alignment(math.nan, "zero kernel")
