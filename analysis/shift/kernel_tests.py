"""Kernel and distance two-sample tests whose permutations all come from one pooled matrix.

Every statistic here is a quadratic form in the indicator of side A, so R permutations are one product of the
pooled N x N matrix with an N x R indicator matrix.

References
----------
Gretton et al., JMLR 13 (2012) 723-773 (unbiased MMD²); Székely and Rizzo, J. Stat. Plan. Inference 143 (2013)
1249-1272 (energy distance).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float
from scipy.spatial.distance import cdist

from analysis.shift.permutation import (
    TestResult,
    check_samples,
    domain_permutations,
    permutation_p,
    sample_notes,
)
from analysis.verdicts import holm
from kernels.arguments import checked_arguments


@checked_arguments
def mmd_test(
    a: Float[np.ndarray, "n d"],
    b: Float[np.ndarray, "m d"],
    *,
    generator: np.random.Generator,
    draws: int = 999,
    bandwidth: float | None = None,
    groups: np.ndarray | None = None,
    strata: np.ndarray | None = None,
    block: int = 1024,
) -> TestResult:
    """Unbiased MMD² with a Gaussian kernel exp(-d²/(2h²)) and a permutation p-value: the default test.

    Parameters
    ----------
    a, b : ndarray, shape (n, d) and (m, d)
        Embeddings of the two sides.
    generator : numpy Generator
        Draws the permutations; one seed gives one p-value.
    draws : int
        R; the smallest p is 1/(R + 1).
    bandwidth : float, optional
        h, fixed in advance. By default the median pooled distance, which is blind to the sides and so keeps the
        test valid.
    groups, strata : ndarray, shape (n + m,), optional
        See `domain_permutations`.
    block : int
        Rows of the pooled matrix held as an intermediate; the answer does not depend on it.

    Returns
    -------
    TestResult
        `detail` holds the bandwidth, and mean and standard deviation of the permuted statistics.

    Raises
    ------
    ValueError
        For non-finite rows, or a median distance of zero (more than half of all pairs are equal rows).

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.shift import mmd_test
    >>> rng = np.random.default_rng(0)
    >>> a, b = rng.standard_normal((40, 3)), rng.standard_normal((40, 3)) + 0.5
    >>> result = mmd_test(a, b, generator=rng, draws=199)
    >>> result.p_value, result.rejects()
    (0.03, True)
    """
    pooled, sizes = check_samples(a, b)
    squares = _squared_distances(pooled, block)
    if bandwidth is None:
        above = squares[np.triu_indices(len(pooled), 1)]
        bandwidth = float(np.sqrt(np.median(above)))
        if bandwidth == 0.0:
            raise ValueError(
                "the median distance between rows is zero: most rows are equal. Collapse duplicates or state h."
            )
    if bandwidth <= 0:
        raise ValueError(f"the bandwidth must be positive, got {bandwidth}.")
    gram = np.exp(squares / (-2.0 * bandwidth**2), out=squares)
    member = domain_permutations(sizes, draws, generator, groups=groups, strata=strata)
    values = unbiased_discrepancy(gram, member)
    return TestResult(
        name="MMD²",
        statistic=float(values[0]),
        p_value=permutation_p(values),
        sizes=sizes,
        draws=draws,
        smallest_p=1.0 / (draws + 1),
        detail={"bandwidth": bandwidth, "null_mean": float(values[1:].mean()), "null_sd": float(values[1:].std())},
        notes=sample_notes(sizes, groups),
    )


def energy_test(
    a: Float[np.ndarray, "n d"],
    b: Float[np.ndarray, "m d"],
    *,
    generator: np.random.Generator,
    draws: int = 999,
    groups: np.ndarray | None = None,
    strata: np.ndarray | None = None,
    block: int = 1024,
) -> TestResult:
    """Energy distance 2E|A-B| - E|A-A'| - E|B-B'| (unbiased) with a permutation p-value.

    Parameters
    ----------
    a, b, generator, draws, groups, strata, block
        As in `mmd_test`; the kernel is minus the Euclidean distance.

    Returns
    -------
    TestResult

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.shift import energy_test
    >>> rng = np.random.default_rng(0)
    >>> a, b = rng.standard_normal((40, 3)), rng.standard_normal((40, 3)) + 0.5
    >>> energy_test(a, b, generator=rng, draws=199).p_value, energy_test(a, a, generator=rng, draws=199).p_value
    (0.025, 1.0)
    """
    pooled, sizes = check_samples(a, b)
    distance = np.sqrt(_squared_distances(pooled, block))
    member = domain_permutations(sizes, draws, generator, groups=groups, strata=strata)
    values = unbiased_discrepancy(-distance, member)
    return TestResult(
        "energy distance",
        float(values[0]),
        permutation_p(values),
        sizes,
        draws,
        1.0 / (draws + 1),
        {"null_mean": float(values[1:].mean()), "null_sd": float(values[1:].std())},
        sample_notes(sizes, groups),
    )


def unbiased_discrepancy(
    gram: Float[np.ndarray, "n n"], member: Bool[np.ndarray, "draws n"]
) -> Float[np.ndarray, " draws"]:
    """Mean off-diagonal k(A, A) + mean off-diagonal k(B, B) - 2 mean k(A, B), for every membership at once.

    Parameters
    ----------
    gram : ndarray, shape (n, n)
        Symmetric pooled kernel matrix.
    member : bool ndarray, shape (draws, n)
        Membership in A.

    Returns
    -------
    ndarray, shape (draws,)
    """
    inside = member.astype(np.float64).T
    diagonal, rows = np.diag(gram), gram.sum(axis=1)
    within_a = np.einsum("nr,nr->r", inside, gram @ inside)
    touching_a = rows @ inside
    across = touching_a - within_a
    within_b = rows.sum() - 2.0 * touching_a + within_a
    n_a = inside.sum(axis=0)
    n_b = inside.shape[0] - n_a
    trace_a = diagonal @ inside
    trace_b = diagonal.sum() - trace_a
    mean_a, mean_b = (within_a - trace_a) / (n_a * (n_a - 1)), (within_b - trace_b) / (n_b * (n_b - 1))
    discrepancy: np.ndarray = mean_a + mean_b - 2.0 * across / (n_a * n_b)
    return discrepancy


def class_conditional(
    test: Callable[..., TestResult],
    a: Float[np.ndarray, "n d"],
    b: Float[np.ndarray, "m d"],
    labels: tuple[np.ndarray, np.ndarray],
    *,
    generator: np.random.Generator,
    groups: tuple[np.ndarray, np.ndarray] | None = None,
    **options: object,
) -> dict[object, TestResult]:
    """Run a test within each class; adjusted over the classes by Holm in ``detail["holm_p"]``.

    Parameters
    ----------
    test : callable
        `mmd_test`, `energy_test`, `frechet_test`, `pooled_pca_ks` or a classifier test.
    a, b : ndarray
        Embeddings of the two sides.
    labels : pair of ndarray, shapes (n,) and (m,)
        Class of each row.
    generator : numpy Generator
    groups : pair of ndarray, optional
        Groups of each side's rows.
    **options
        Passed on to the test.

    Returns
    -------
    dict
        One `TestResult` by class. A gap in class shares alone moves none of them.

    Raises
    ------
    ValueError
        If a class is present on one side only, with the counts.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.shift import class_conditional, mmd_test
    >>> rng = np.random.default_rng(0)
    >>> labels = np.repeat([0, 1], 30)
    >>> a, b = rng.standard_normal((60, 3)), rng.standard_normal((60, 3))
    >>> b[labels == 1] += 1.0  # only the second class moves
    >>> found = class_conditional(mmd_test, a, b, (labels, labels), generator=rng, draws=99)
    >>> {value: result.rejects() for value, result in found.items()}
    {0: False, 1: True}
    """
    classes = np.union1d(np.unique(labels[0]), np.unique(labels[1]))
    results: dict[object, TestResult] = {}
    for value in classes:
        rows = [np.flatnonzero(side == value) for side in labels]
        if min(part.size for part in rows) < 2:
            raise ValueError(f"class {value} has {rows[0].size} and {rows[1].size} rows: no test within it.")
        if groups is not None:
            options["groups"] = np.concatenate([groups[0][rows[0]], groups[1][rows[1]]])
        results[value.item()] = test(a[rows[0]], b[rows[1]], generator=generator, **options)
    adjusted = holm(np.array([result.p_value for result in results.values()]))
    for result, p in zip(results.values(), adjusted, strict=True):
        result.detail["holm_p"] = float(p)
    return results


def _squared_distances(pooled: np.ndarray, block: int) -> np.ndarray:
    # centering first: distances do not change, cancellation in large offsets does
    centered = pooled - pooled.mean(axis=0)
    rows = [cdist(centered[start : start + block], centered, "sqeuclidean") for start in range(0, len(centered), block)]
    return np.concatenate(rows)
