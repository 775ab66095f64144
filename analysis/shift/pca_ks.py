"""Principal components of two pooled samples and a KS test in each, Holm over all components tested.

The basis is fitted on A ∪ B without looking at the sides, so rows stay exchangeable. With a basis fitted
on one side they are not, and the test rejects too often (docs/studies/shift.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float
from scipy import linalg, stats

from analysis.shift.permutation import TestResult, check_samples, sample_notes
from analysis.verdicts import holm
from kernels.arguments import checked_arguments


@dataclass(frozen=True)
class PooledScores:
    """Scores of both sides on the pooled components.

    Attributes
    ----------
    a, b : ndarray, shape (n, k) and (m, k)
    explained_variance : ndarray, shape (k,)
        Ratio of the pooled variance along each component.
    """

    a: Float[np.ndarray, "n k"]
    b: Float[np.ndarray, "m k"]
    explained_variance: Float[np.ndarray, " k"]


def pooled_scores(a: Float[np.ndarray, "n d"], b: Float[np.ndarray, "m d"], components: int) -> PooledScores:
    """Project both samples on the leading components of their union.

    Parameters
    ----------
    a, b : ndarray, shape (n, d) and (m, d)
    components : int
        Clipped to the rank of the pooled rows.

    Returns
    -------
    PooledScores
        Each component's largest loading is positive.
    """
    if components < 1:
        raise ValueError(f"at least one component is needed, got {components}.")
    pooled, sizes = check_samples(a, b)
    centered = pooled - pooled.mean(axis=0)
    _, s, vt = linalg.svd(centered, full_matrices=False)
    if s[0] == 0.0:
        raise ValueError("all pooled rows are equal: there is no component to test.")
    kept = min(components, int(np.count_nonzero(s > len(pooled) * 2.0**-52 * s[0])))
    vt = vt[:kept] * np.sign(np.take_along_axis(vt[:kept], np.abs(vt[:kept]).argmax(1)[:, None], 1))
    scores = centered @ vt.T
    return PooledScores(scores[: sizes[0]], scores[sizes[0] :], (s**2 / np.square(s).sum())[:kept])


@checked_arguments
def pooled_pca_ks(
    a: Float[np.ndarray, "n d"],
    b: Float[np.ndarray, "m d"],
    *,
    components: int = 10,
    correction: Literal["holm", "bonferroni"] = "holm",
) -> TestResult:
    """Kolmogorov-Smirnov test in each pooled component, corrected over all of them.

    Parameters
    ----------
    a, b : ndarray, shape (n, d) and (m, d)
    components : int
        Number of components tested, fixed in advance.
    correction : {"holm", "bonferroni"}
        Their smallest adjusted p-values agree; Holm also says which components differ.

    Returns
    -------
    TestResult
        Statistic: largest KS distance. ``detail`` holds the distance, raw and adjusted p of each component, and
        ``strongest``, the component with the largest distance (it need not be the first).

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.shift import pooled_pca_ks
    >>> rng = np.random.default_rng(0)
    >>> scale = np.array([5.0, 3.0, 1.0])
    >>> a, b = rng.standard_normal((100, 3)) * scale, rng.standard_normal((100, 3)) * scale + [0.0, 0.0, 1.0]
    >>> result = pooled_pca_ks(a, b, components=3)
    >>> result.rejects(), result.detail["strongest"]  # the component with the least variance differs most
    (True, 2)
    """
    scores = pooled_scores(a, b, components)
    found = [stats.ks_2samp(left, right, method="auto") for left, right in zip(scores.a.T, scores.b.T, strict=True)]
    distance, raw = np.array([f.statistic for f in found]), np.array([float(f.pvalue) for f in found])
    adjusted = holm(raw) if correction == "holm" else np.minimum(raw * raw.size, 1.0)
    sizes = (len(a), len(b))
    return TestResult(
        "pooled-PCA KS",
        float(distance.max()),
        float(adjusted.min()),
        sizes,
        0,
        0.0,
        {
            "basis": "pooled",
            "distance": distance.tolist(),
            "p": raw.tolist(),
            "adjusted_p": adjusted.tolist(),
            "explained_variance": scores.explained_variance.tolist(),
            "strongest": int(distance.argmax()),
        },
        sample_notes(sizes, None),
    )


def ks_threshold(sizes: tuple[int, int], components: int, alpha: float = 0.05) -> float:
    """KS distance at which Bonferroni over the components rejects (large-sample form), for figures."""
    level = alpha / components
    return float(np.sqrt(-0.5 * np.log(level / 2.0)) * np.sqrt((sizes[0] + sizes[1]) / (sizes[0] * sizes[1])))
