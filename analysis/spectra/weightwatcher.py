"""WeightWatcher's alpha: its power-law fit of a layer's eigenvalues, with its own limits.

The fit differs from :func:`analysis.spectra.power_law.fit_power_law` in three ways: eigenvalues up to 1e-5 are left
out, every eigenvalue but the largest may begin the tail, also one of two values, and the distance is to the empirical
distribution just below each eigenvalue alone. It has no null: an alpha comes out of noise too.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from analysis.spectra.power_law import PowerLawFit
from kernels.arguments import checked_arguments

LEAST = 1e-5
"""Eigenvalues up to here are left out."""
FEWEST = 50
"""Fewest eigenvalues for its fit to be sound."""
SOUND = (2.0, 6.0)
"""Exponents outside are what WeightWatcher itself warns of: over-trained below, under-trained above."""


@checked_arguments
def weightwatcher_fit(eigenvalues: Float[np.ndarray, " n"]) -> PowerLawFit:
    """Fit a power law as WeightWatcher does for 20 eigenvalues or more.

    Parameters
    ----------
    eigenvalues : ndarray (n,)
        Of W^T W; as WeightWatcher has them, neither divided by a side nor by a variance.

    Raises
    ------
    ValueError
        If fewer than 20 finite eigenvalues are above 1e-5 (WeightWatcher then changes to another objective), or all
        are equal.

    References
    ----------
    Martin, Peng and Mahoney (2021), Nature Communications 12, 4122; weightwatcher 0.7.7.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.spectra import weightwatcher_fit
    >>> tail = (1 - np.arange(400) / 400) ** (-1 / 1.5)  # quantiles of a power law of exponent 2.5
    >>> round(weightwatcher_fit(tail).alpha, 2)
    2.51
    """
    kept = np.sort(eigenvalues[eigenvalues > LEAST]).astype(np.float64)
    if not np.isfinite(kept).all():
        raise ValueError("eigenvalues hold infinities: mark this spectrum as failed instead of fitting it.")
    if kept.size < 20 or kept[0] == kept[-1]:
        raise ValueError(f"WeightWatcher's fit needs 20 eigenvalues above {LEAST} that differ, got {kept.size}.")
    logs = np.log(kept)
    best: PowerLawFit | None = None
    for start in range(kept.size - 1):
        size = kept.size - start
        excess = float(logs[start:].sum() - size * logs[start])
        if excess <= 0:
            continue
        alpha = 1 + size / excess
        below = 1 - (kept[start:] / kept[start]) ** (1 - alpha)
        distance = float(np.abs(below - np.arange(size) / size).max())
        if best is None or distance < best.distance:
            best = PowerLawFit(alpha, float(kept[start]), distance, size)
    assert best is not None  # the first start has an excess, since values differ
    return best


@checked_arguments
def weightwatcher_alpha(eigenvalues: Float[np.ndarray, " n"]) -> float | None:
    """WeightWatcher's alpha where its own fit is sound: 50 eigenvalues or more, and an exponent from 2 to 6.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.spectra import weightwatcher_alpha
    >>> noise = np.random.default_rng(0).standard_normal((100, 60))
    >>> round(weightwatcher_alpha(np.linalg.eigvalsh(noise.T @ noise)), 1)  # pure noise has one within its limits too
    3.3
    >>> print(weightwatcher_alpha(np.arange(1.0, 30.0)))  # too few
    None
    """
    kept = eigenvalues[eigenvalues > LEAST]
    if kept.size < FEWEST or not np.isfinite(kept).all() or kept.min() == kept.max():
        return None
    alpha = weightwatcher_fit(eigenvalues).alpha
    return alpha if SOUND[0] <= alpha <= SOUND[1] else None
