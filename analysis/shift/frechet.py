"""Fréchet distance between Gaussian fits of two samples, shrunk, with a permutation p-value only.

‖μ_A - μ_B‖² + tr(Σ_A + Σ_B - 2(Σ_A Σ_B)^{1/2}). Its plug-in estimate is biased upwards, badly when n < d, so no
fixed threshold has a known level.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy import linalg
from sklearn.covariance import ledoit_wolf_shrinkage

from analysis.shift.permutation import (
    TestResult,
    check_samples,
    domain_permutations,
    permutation_p,
    sample_notes,
)


def frechet_test(
    a: Float[np.ndarray, "n d"],
    b: Float[np.ndarray, "m d"],
    *,
    generator: np.random.Generator,
    draws: int = 199,
    shrinkage: float | None = None,
    components: int | None = None,
    groups: np.ndarray | None = None,
    strata: np.ndarray | None = None,
) -> TestResult:
    """Fréchet distance with a permutation p-value.

    Parameters
    ----------
    a, b : ndarray, shape (n, d) and (m, d)
    generator : numpy Generator
    draws : int
        R; each costs two symmetric eigenproblems of the working dimension.
    shrinkage : float, optional
        γ of (1 - γ)Σ + γ (tr Σ/d) I, the same for both sides and every permutation. By default Ledoit-Wolf's on
        the pooled rows, which is blind to the sides.
    components : int, optional
        Work in this many leading pooled principal components (label-blind). By default every direction that
        the pooled rows span, which loses nothing.
    groups, strata : ndarray, optional
        See `domain_permutations`.

    Returns
    -------
    TestResult

    Raises
    ------
    ValueError
        If `shrinkage=0` is requested with fewer rows than dimensions on one side.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.shift import frechet_test
    >>> rng = np.random.default_rng(0)
    >>> a, b = rng.standard_normal((40, 3)), rng.standard_normal((40, 3)) + 0.5
    >>> result = frechet_test(a, b, generator=rng, draws=39)
    >>> result.p_value, result.statistic > result.detail["null_mean"]
    (0.025, True)
    """
    pooled, sizes = check_samples(a, b)
    centered = pooled - pooled.mean(axis=0)
    width = centered.shape[1]
    gamma = float(ledoit_wolf_shrinkage(centered, assume_centered=True)) if shrinkage is None else shrinkage
    if not 0.0 <= gamma <= 1.0:
        raise ValueError(f"shrinkage must be within 0..1, got {gamma}.")
    _, s, vt = linalg.svd(centered, full_matrices=False)
    kept = int(np.count_nonzero(s > len(pooled) * 2.0**-52 * s[0])) if components is None else components
    if not 1 <= kept <= s.size:
        raise ValueError(f"components must be within 1..{s.size}, got {components}.")
    if gamma == 0.0 and min(sizes) <= (width if components is None else kept):
        raise ValueError(
            f"{min(sizes)} rows for {width if components is None else kept} dimensions: the unshrunk Fréchet "
            "distance is dominated by its bias. Leave shrinkage to its default or lower components."
        )
    scores = centered @ vt[:kept].T
    member = domain_permutations(sizes, draws, generator, groups=groups, strata=strata)
    total = width if components is None else kept
    values = np.array([_distance(scores[side], scores[~side], gamma, total) for side in member])
    mean_part = float(np.square(scores[: sizes[0]].mean(0) - scores[sizes[0] :].mean(0)).sum())
    return TestResult(
        "Fréchet distance",
        float(values[0]),
        permutation_p(values),
        sizes,
        draws,
        1.0 / (draws + 1),
        {"shrinkage": gamma, "dimensions": kept, "mean_part": mean_part, "null_mean": float(values[1:].mean())},
        sample_notes(sizes, groups),
    )


def frechet_distance(a: Float[np.ndarray, "n d"], b: Float[np.ndarray, "m d"], *, shrinkage: float = 0.0) -> float:
    """Plug-in Fréchet distance with stated shrinkage; an effect size, never a verdict.

    Raises
    ------
    ValueError
        Without shrinkage, if a side has no more rows than dimensions.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.shift import frechet_distance
    >>> rng = np.random.default_rng(0)
    >>> a, b = rng.standard_normal((2000, 4)), rng.standard_normal((2000, 4)) + [1.0, 0.0, 0.0, 2.0]
    >>> round(frechet_distance(a, b), 1)  # the squared distance of the means is 5
    5.0
    """
    pooled, sizes = check_samples(a, b)
    if shrinkage == 0.0 and min(sizes) <= pooled.shape[1]:
        raise ValueError(f"{min(sizes)} rows for {pooled.shape[1]} dimensions: state a shrinkage above zero.")
    return _distance(pooled[: sizes[0]], pooled[sizes[0] :], shrinkage, pooled.shape[1])


def _distance(a: np.ndarray, b: np.ndarray, gamma: float, width: int) -> float:
    gap = a.mean(axis=0) - b.mean(axis=0)
    first, floor_a = _shrunk(a, gamma, width)
    second, floor_b = _shrunk(b, gamma, width)
    values, vectors = linalg.eigh(first)
    root = (vectors * np.sqrt(np.clip(values, 0.0, None))) @ vectors.T
    middle = np.sqrt(np.clip(linalg.eigvalsh(root @ second @ root), 0.0, None)).sum()
    # directions that no pooled row spans carry the shrinkage target alone
    outside = (width - a.shape[1]) * (np.sqrt(floor_a) - np.sqrt(floor_b)) ** 2
    return float(gap @ gap + np.trace(first) + np.trace(second) - 2.0 * middle + outside)


def _shrunk(rows: np.ndarray, gamma: float, width: int) -> tuple[np.ndarray, float]:
    centered = rows - rows.mean(axis=0)
    covariance = centered.T @ centered / (len(rows) - 1)
    floor = gamma * float(np.trace(covariance)) / width
    return (1.0 - gamma) * covariance + floor * np.eye(rows.shape[1]), floor
