"""Where a distance that falls with the number of runs ends: the fit of KS(M) = plateau + c M^-p."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

_POWERS = np.linspace(0.05, 2.0, 391)
"""Candidates for the rate p of M^-p; the fit is linear in everything else."""


def fit_plateau(sizes: np.ndarray, ks: Float[np.ndarray, " s"]) -> tuple[float, float, float]:
    """Least-squares fit of KS(M) = plateau + c M^-p in relative errors, with plateau and c at least 0.

    For a given p the two coefficients have a closed form; p is searched on a grid of step 0.005, so that the fit
    cannot miss the optimum and a bootstrap can repeat it hundreds of times.

    Returns
    -------
    plateau, c, p : float
    """
    basis = np.asarray(sizes, dtype=np.float64) ** -_POWERS[:, None]  # one row per p
    weight = 1.0 / np.maximum(ks, 1e-12) ** 2
    w, b, bb = weight.sum(), basis @ weight, basis**2 @ weight
    y, by = float(weight @ ks), basis @ (weight * ks)
    determinant = w * bb - b**2
    plateau = (bb * y - b * by) / determinant
    c = (w * by - b * y) / determinant
    c = np.where(plateau < 0, by / bb, c)
    plateau = np.where(c < 0, y / w, np.maximum(plateau, 0.0))
    c = np.maximum(c, 0.0)
    residual = ((plateau[:, None] + c[:, None] * basis - ks) ** 2) @ weight
    best = int(residual.argmin())
    return float(plateau[best]), float(c[best]), float(_POWERS[best])
