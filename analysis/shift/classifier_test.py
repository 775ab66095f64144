"""Classifier two-sample tests: how well an L2 logistic classifier separates the sides on new rows.

Two p-values are valid: the exact binomial one of a single split, and the permutation one of cross-validation
where every permutation refits everything. Permutations share their rows, so all R label vectors are fitted
together against one Cholesky factor of the curvature bound.

References
----------
Lopez-Paz and Oquab, arXiv 1610.06545 (C2ST); Böhning and Lindsay, Ann. Inst. Stat. Math. 40 (1988) 641-663 (the
bound XᵀX/4 on the logistic Hessian).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float
from scipy import linalg, special, stats

from analysis.shift.permutation import (
    TestResult,
    check_samples,
    domain_permutations,
    permutation_p,
    sample_notes,
)
from kernels.arguments import checked_arguments

PENALTIES = (1.0, 10.0, 100.0, 1000.0)


@checked_arguments
def split_classifier_test(
    a: Float[np.ndarray, "n d"],
    b: Float[np.ndarray, "m d"],
    *,
    generator: np.random.Generator,
    test_share: float = 0.5,
    penalties: Sequence[float] = PENALTIES,
    standardize: bool = True,
) -> TestResult:
    """Fit on one half, score the other, exact binomial p-value for better than the larger side's share.

    Parameters
    ----------
    a, b : ndarray, shape (n, d) and (m, d)
    generator : numpy Generator
        Draws the split and the folds that choose the penalty inside the training half.
    test_share : float
        Share of each side held out.
    penalties : sequence of float
        Candidates λ of Σ loss + (λ/2)‖w‖², chosen by cross-validation inside the training half.
    standardize : bool
        Scale columns by the training half's standard deviations.

    Returns
    -------
    TestResult
        Statistic: accuracy. ``detail``: AUC and its interval, penalty, test rows.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.shift import split_classifier_test
    >>> rng = np.random.default_rng(0)
    >>> a, b = rng.standard_normal((100, 3)), rng.standard_normal((100, 3)) + 1.0
    >>> result = split_classifier_test(a, b, generator=rng)
    >>> round(result.statistic, 2), result.p_value < 0.001  # accuracy on rows that the classifier has not seen
    (0.77, True)
    """
    pooled, sizes = check_samples(a, b)
    held = _stratified_mask(sizes, test_share, generator)
    signs = np.where(np.arange(len(pooled)) < sizes[0], -1.0, 1.0)
    train, queries = standardized(pooled[~held], pooled[held], standardize)
    folds = generator.integers(0, 5, (~held).sum())
    scores, chosen = fit_and_score(train, signs[~held][:, None], queries, penalties, folds)
    truth = signs[held]
    hits = int(np.count_nonzero(np.where(scores[:, 0] > 0, 1.0, -1.0) == truth))
    share = max(float(np.mean(truth > 0)), float(np.mean(truth < 0)))
    p = float(stats.binomtest(hits, truth.size, share, alternative="greater").pvalue)
    auc, low, high = auc_interval(scores[truth > 0, 0], scores[truth < 0, 0])
    smallest = float(share**truth.size)
    return TestResult(
        "C2ST (split)",
        hits / truth.size,
        p,
        sizes,
        0,
        smallest,
        {"auc": auc, "auc_low": low, "auc_high": high, "penalty": float(chosen[0]), "test_rows": truth.size},
        sample_notes(sizes, None),
    )


def cross_validated_classifier_test(
    a: Float[np.ndarray, "n d"],
    b: Float[np.ndarray, "m d"],
    *,
    generator: np.random.Generator,
    draws: int = 199,
    folds: int = 5,
    penalties: Sequence[float] = PENALTIES,
    standardize: bool = True,
    groups: np.ndarray | None = None,
    strata: np.ndarray | None = None,
) -> TestResult:
    """Cross-validated AUC and accuracy with a permutation p-value on the AUC; every permutation refits everything.

    Parameters
    ----------
    a, b : ndarray, shape (n, d) and (m, d)
    generator : numpy Generator
        Draws permutations and folds. Folds are drawn without looking at the sides; whole groups share a fold.
    draws : int
        R.
    folds : int
    penalties : sequence of float
        Candidates λ, chosen for each permutation and fold inside the training part.
    standardize : bool
    groups, strata : ndarray, optional
        See `domain_permutations`.

    Returns
    -------
    TestResult
        Statistic: mean AUC over folds. ``detail``: accuracy, the most typical rows of each side.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.shift import cross_validated_classifier_test
    >>> rng = np.random.default_rng(0)
    >>> a, b = rng.standard_normal((30, 3)), rng.standard_normal((30, 3)) + 1.0
    >>> result = cross_validated_classifier_test(a, b, generator=rng, draws=39, penalties=[10.0])
    >>> round(result.statistic, 2), result.p_value  # AUC; 39 draws allow no smaller p
    (0.83, 0.025)
    """
    pooled, sizes = check_samples(a, b)
    member = domain_permutations(sizes, draws, generator, groups=groups, strata=strata)
    signs = np.where(member, -1.0, 1.0).T
    cluster = np.arange(len(pooled)) if groups is None else np.unique(groups, return_inverse=True)[1].reshape(-1)
    deck = generator.permutation(np.arange(cluster.max() + 1) % folds)[cluster]
    auc, accuracy = np.zeros(draws + 1), np.zeros(draws + 1)
    own = np.empty(len(pooled))
    for fold in range(folds):
        held = deck == fold
        train, queries = standardized(pooled[~held], pooled[held], standardize)
        inner = generator.permutation(np.arange(cluster.max() + 1) % folds)[cluster[~held]]
        scores, _ = fit_and_score(train, signs[~held], queries, penalties, inner)
        own[held] = scores[:, 0]
        auc += _auc(scores, signs[held] > 0) / folds
        accuracy += np.mean((scores > 0) == (signs[held] > 0), axis=0) / folds
    typical = {
        "typical_a": np.argsort(own[: sizes[0]])[:5].tolist(),
        "typical_b": np.argsort(-own[sizes[0] :])[:5].tolist(),
    }
    return TestResult(
        "C2ST (cross-validated)",
        float(auc[0]),
        permutation_p(auc),
        sizes,
        draws,
        1.0 / (draws + 1),
        {"accuracy": float(accuracy[0]), "null_auc": float(auc[1:].mean()), **typical},
        sample_notes(sizes, groups),
    )


def batched_logistic(
    features: Float[np.ndarray, "n d"],
    signs: Float[np.ndarray, "n r"],
    penalty: float,
    *,
    tolerance: float = 1e-4,
    iterations: int = 200,
) -> Float[np.ndarray, "d_plus_1 r"]:
    """Fit r label vectors on the same rows: min Σ log(1 + exp(-y f)) + (λ/2)‖w‖², bias free (last row).

    Majorizes the Hessian by XᵀX/4 + λI, one Cholesky factor for all columns, with Nesterov's acceleration and
    restarts.

    Parameters
    ----------
    features : ndarray, shape (n, d)
    signs : ndarray, shape (n, r)
        ±1.
    penalty : float
        λ > 0.
    tolerance : float
        Stop when the largest gradient entry is below this share of the number of rows.
    iterations : int

    Returns
    -------
    weights : ndarray, shape (d + 1, r)
    """
    n, d = features.shape
    design = np.column_stack([features, np.ones(n)])
    shrink = np.append(np.full(d, penalty), 0.0)[:, None]
    # the tiny ridge keeps the bias row factorizable and only shortens its steps
    factor = linalg.cho_factor(design.T @ design / 4.0 + np.diag(shrink[:, 0] + 1e-9 * n), check_finite=False)
    theta = np.zeros((d + 1, signs.shape[1]))
    ahead, momentum = theta, np.ones(signs.shape[1])
    for _ in range(iterations):
        pull = -signs * special.expit(-signs * (design @ ahead))
        gradient = design.T @ pull + shrink * ahead
        if float(np.abs(gradient).max()) <= tolerance * n:
            return ahead
        fresh = ahead - linalg.cho_solve(factor, gradient, check_finite=False)
        # the momentum of a column that points uphill is reset
        uphill = np.einsum("dr,dr->r", gradient, fresh - theta) > 0
        momentum = np.where(uphill, 1.0, momentum)
        later = (1.0 + np.sqrt(1.0 + 4.0 * momentum**2)) / 2.0
        ahead = fresh + ((momentum - 1.0) / later) * (fresh - theta)
        theta, momentum = fresh, later
    return theta


def fit_and_score(
    train: Float[np.ndarray, "n d"],
    signs: Float[np.ndarray, "n r"],
    queries: Float[np.ndarray, "m d"],
    penalties: Sequence[float],
    folds: np.ndarray,
) -> tuple[Float[np.ndarray, "m r"], Float[np.ndarray, " r"]]:
    """Choose a penalty for each column by cross-validated log loss, refit, and score new rows.

    Parameters
    ----------
    train : ndarray, shape (n, d)
    signs : ndarray, shape (n, r)
        ±1; each column is a problem of its own.
    queries : ndarray, shape (m, d)
        Scaled as `train` was.
    penalties : sequence of float
        Candidates λ; a single one is taken as it is.
    folds : int ndarray, shape (n,)
        Fold of each training row.

    Returns
    -------
    scores : ndarray, shape (m, r)
        Log odds.
    penalty : ndarray, shape (r,)
    """
    if not penalties or min(penalties) <= 0:
        raise ValueError(f"penalties must be positive, got {list(penalties)}.")
    loss = np.zeros((len(penalties), signs.shape[1]))
    if len(penalties) > 1:
        for fold in np.unique(folds):
            out = folds == fold
            for i, penalty in enumerate(penalties):
                theta = batched_logistic(train[~out], signs[~out], penalty)
                loss[i] += np.logaddexp(0.0, -signs[out] * (train[out] @ theta[:-1] + theta[-1])).sum(axis=0)
    best = loss.argmin(axis=0)
    scores = np.empty((len(queries), signs.shape[1]))
    for i in np.unique(best):
        columns = best == i
        theta = batched_logistic(train, signs[:, columns], penalties[i])
        scores[:, columns] = queries @ theta[:-1] + theta[-1]
    return scores, np.asarray(penalties)[best]


def standardized(
    train: Float[np.ndarray, "n d"], queries: Float[np.ndarray, "m d"], scale_columns: bool = True
) -> tuple[Float[np.ndarray, "n d"], Float[np.ndarray, "m d"]]:
    """Center (and scale) both by the training rows' mean (and standard deviation); constant columns stay."""
    mean = train.mean(axis=0)
    scale = train.std(axis=0) if scale_columns else np.ones(train.shape[1])
    scale = np.where(scale > 1e-12 * np.maximum(np.abs(mean), 1e-300), scale, 1.0)
    return (train - mean) / scale, (queries - mean) / scale


def auc_interval(
    positive: Float[np.ndarray, " p"], negative: Float[np.ndarray, " n"], level: float = 0.95
) -> tuple[float, float, float]:
    """AUC with DeLong's interval (DeLong, DeLong and Clarke-Pearson, Biometrics 44 (1988) 837-845)."""
    wins = (positive[:, None] > negative) + 0.5 * (positive[:, None] == negative)
    auc = float(wins.mean())
    parts = [
        float(side.var(ddof=1)) / side.size if side.size > 1 else 0.25 / side.size
        for side in (wins.mean(axis=1), wins.mean(axis=0))
    ]
    half = float(stats.norm.ppf(0.5 + level / 2.0)) * float(np.sqrt(sum(parts)))
    return auc, max(0.0, auc - half), min(1.0, auc + half)


def _auc(scores: np.ndarray, positive: Bool[np.ndarray, "n r"]) -> np.ndarray:
    ranks = stats.rankdata(scores, axis=0)
    count = positive.sum(axis=0)
    other = len(scores) - count
    pairs = np.maximum(count * other, 1)
    auc: np.ndarray = ((ranks * positive).sum(axis=0) - count * (count + 1) / 2.0) / pairs
    # a fold that holds one side only carries no information
    return np.where(count * other > 0, auc, 0.5)


def _stratified_mask(sizes: tuple[int, int], share: float, generator: np.random.Generator) -> np.ndarray:
    if not 0.0 < share < 1.0 or min(sizes) < 4:
        raise ValueError(f"a split needs a share within (0, 1) and four rows a side, got {share} and {sizes}.")
    held = np.zeros(sum(sizes), dtype=bool)
    for start, size in ((0, sizes[0]), (sizes[0], sizes[1])):
        held[start + generator.permutation(size)[: max(1, round(share * size))]] = True
    return held
