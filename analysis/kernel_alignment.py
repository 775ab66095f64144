"""How well a kernel matches the labels, and how far it moved."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True)
class Alignment:
    """A kernel-target alignment, or NaN with the reason why there is none."""

    value: float
    reason: str = ""


def _as_targets(targets: np.ndarray, centered: bool) -> tuple[np.ndarray, str]:
    """Targets as columns, centred where asked for, and the reason why they carry no information."""
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
        Centre kernel and targets first.

    References
    ----------
    Cristianini et al. (2001); centred form: Cortes, Mohri and Rostamizadeh (2012), JMLR 13.
    """
    y, reason = _as_targets(targets, centered)
    if reason:
        return Alignment(math.nan, reason)
    if centered:
        kernel = kernel - kernel.mean(0) - kernel.mean(1)[:, None] + kernel.mean()
    scale = float(np.linalg.norm(kernel) * np.linalg.norm(y.T @ y))
    return Alignment(float(np.sum(y * (kernel @ y))) / scale) if scale else Alignment(math.nan, "zero kernel")


def feature_target_alignment(
    features: Float[np.ndarray, "n h"],
    targets: Float[np.ndarray, " n"] | Float[np.ndarray, "n c"],
    centered: bool = False,
) -> Alignment:
    """Kernel-target alignment of ``features @ features.T`` without the n by n matrix."""
    y, reason = _as_targets(targets, centered)
    if reason:
        return Alignment(math.nan, reason)
    if centered:
        features = features - features.mean(0)
    scale = float(np.linalg.norm(features.T @ features) * np.linalg.norm(y.T @ y))
    return Alignment(float(np.sum((features.T @ y) ** 2)) / scale) if scale else Alignment(math.nan, "zero kernel")


def kernel_movement(start: Float[np.ndarray, "n n"], now: Float[np.ndarray, "n n"]) -> float:
    """Relative change ``||K_t - K_0||_F / ||K_0||_F``."""
    norm = float(np.linalg.norm(start))
    if norm == 0:
        raise ValueError("the kernel at the start is zero: its relative movement is not defined")
    return float(np.linalg.norm(now - start)) / norm


def kernel_distance(start: Float[np.ndarray, "n n"], now: Float[np.ndarray, "n n"]) -> float:
    """``1 - CKA``: one minus the cosine of the centred kernels; free of scale (arXiv:1905.00414)."""
    a, b = (k - k.mean(0) - k.mean(1)[:, None] + k.mean() for k in (start, now))
    scale = float(np.linalg.norm(a) * np.linalg.norm(b))
    if scale == 0:
        raise ValueError("a centred kernel is zero: all rows are alike and CKA is not defined")
    return 1.0 - float(np.sum(a * b)) / scale
