"""Judge attributions by what retraining without some training points does: the linear datamodeling score."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from analysis.attribution.masks import stability
from analysis.checks import check_finite
from analysis.resampling import Interval, check_draws, interval_from_draws, multiplicities
from kernels.arguments import checked_arguments


@checked_arguments
def random_subsets(n: int, count: int, rng: np.random.Generator, fraction: float = 0.5) -> Bool[np.ndarray, "s n"]:
    """Draw `count` subsets of exactly round(fraction n) training points, as masks.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.attribution import random_subsets
    >>> subsets = random_subsets(10, 3, np.random.default_rng(0))
    >>> subsets.shape, subsets.sum(axis=1)
    ((3, 10), array([5, 5, 5]))
    """
    size = round(fraction * n)
    if count < 1:
        raise ValueError(f"count={count} must be at least 1 subset.")
    if not 0 < size < n:
        raise ValueError(f"fraction {fraction} keeps {size} of {n} points: choose one strictly between.")
    masks = np.zeros((count, n), bool)
    for mask in masks:
        mask[rng.choice(n, size, replace=False)] = True
    return masks


@dataclass(frozen=True)
class DatamodelingScore:
    """Linear datamodeling score: per test point, and the mean with its interval over subsets and test points."""

    per_point: Float[np.ndarray, " m"]
    mean: Interval


@checked_arguments
def linear_datamodeling_score(
    scores: Float[np.ndarray, "m n"],
    subsets: Bool[np.ndarray, "s _"],
    margins: Float[np.ndarray, "_ _"],
    *,
    rng: np.random.Generator,
    draws: int = 1000,
) -> DatamodelingScore:
    """Correlate predicted with retrained margins over subsets of the training data (arXiv:2303.14186, section 2).

    Parameters
    ----------
    scores : ndarray, shape (m, n)
        Attributions; the prediction for a subset is the sum of its points' scores.
    subsets : ndarray of bool, shape (s, n)
        Training subsets.
    margins : ndarray, shape (s, m)
        Margin of each test point's label, mean over the seeds retrained on the subset.
    rng : numpy Generator
        For the interval.
    draws : int
        Bootstrap draws.

    Returns
    -------
    DatamodelingScore
        Spearman's ρ over subsets. Test points whose prediction or margin never changes count as 0; values that are not
        finite are refused. The interval of the mean resamples subsets and test points, since all test points share the
        subsets; training points and retraining seeds are fixed.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.attribution import linear_datamodeling_score, random_subsets
    >>> rng = np.random.default_rng(0)
    >>> effects = rng.normal(size=(4, 30))  # what each training point really adds to the margins of 4 test points
    >>> subsets = random_subsets(30, 40, rng)
    >>> margins = subsets @ effects.T  # stands for networks retrained on the subsets
    >>> guesses = {"right": effects, "random": rng.normal(size=(4, 30))}
    >>> {n: round(linear_datamodeling_score(s, subsets, margins, rng=rng).mean.estimate, 1) for n, s in guesses.items()}
    {'right': 1.0, 'random': 0.0}
    """
    if len(subsets) != len(margins) or scores.shape != (margins.shape[1], subsets.shape[1]):
        raise ValueError(
            f"scores {scores.shape} (test, train), subsets {subsets.shape} (subset, train) and margins "
            f"{margins.shape} (subset, test) do not belong together."
        )
    if len(subsets) < 3:
        raise ValueError(f"A rank correlation over {len(subsets)} subsets says nothing; retrain on more.")
    if (subsets == subsets[0]).all():
        raise ValueError(f"All {len(subsets)} subsets hold the same training points: draw them with random_subsets.")
    check_finite(scores=scores, margins=margins)
    check_draws(draws, 0.95)
    foretold, real = scores @ subsets.T, margins.T.astype(np.float64)
    per_point = np.nan_to_num(stability(foretold, real))
    drawn = [(multiplicities(len(subsets), rng), multiplicities(len(per_point), rng)) for _ in range(draws)]
    parts, points = (np.array(one, np.float64) for one in zip(*drawn, strict=True))
    means = np.concatenate(
        [
            (points[some].T * resampled_correlations(foretold, real, parts[some])).sum(0) / len(per_point)
            for some in (slice(start, start + TOGETHER) for start in range(0, draws, TOGETHER))
        ]
    )
    return DatamodelingScore(per_point, interval_from_draws(per_point.mean(), means, kind="percentile"))


TOGETHER, COMPARED = 50, 2**22
"""Bootstrap draws whose ranks are held at a time, and pairs of entries that are compared at a time."""


def resampled_correlations(
    first: Float[np.ndarray, "m s"], second: Float[np.ndarray, "m s"], times: Float[np.ndarray, "b s"]
) -> Float[np.ndarray, "m b"]:
    """Spearman's ρ of each row where column j counts ``times[b, j]`` times; 0 where one side does not vary.

    The mean rank of an entry among repeated ones is the number below it plus half of those equal to it, so that all
    draws take one matrix product with who stands below whom.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.attribution.retraining import resampled_correlations
    >>> x, y = np.array([[1.0, 2.0, 3.0]]), np.array([[1.0, 3.0, 2.0]])
    >>> resampled_correlations(x, y, np.array([[1.0, 1, 1], [1, 0, 2]]))
    array([[0.5, 1. ]])
    """
    rows = max(1, COMPARED // first.shape[1] ** 2)
    if len(first) > rows:
        pieces = [slice(start, start + rows) for start in range(0, len(first), rows)]
        return np.concatenate([resampled_correlations(first[some], second[some], times) for some in pieces])
    weights, total = times.T[None], times.sum(1)
    centered = []
    for values in (first, second):
        below = (values[:, :, None] > values[:, None, :]) + 0.5 * (values[:, :, None] == values[:, None, :])
        ranks = below @ times.T
        centered.append(ranks - (ranks * weights).sum(1, keepdims=True) / total)
    a, b = centered
    scale = np.sqrt((a * a * weights).sum(1) * (b * b * weights).sum(1))
    return np.divide((a * b * weights).sum(1), scale, out=np.zeros_like(scale), where=scale > 1e-9)


def _over_subsets_and_points(
    score: Callable[[np.ndarray], np.ndarray], subsets: int, draws: int, rng: np.random.Generator
) -> tuple[Float[np.ndarray, " m"], Float[np.ndarray, " b"]]:
    """Score each test point on all subsets; and draw the mean over resampled subsets and test points."""
    check_draws(draws, 0.95)
    per_point = score(np.arange(subsets))
    means = np.empty(draws)
    for draw in range(draws):
        resampled = score(np.repeat(np.arange(subsets), multiplicities(subsets, rng)))
        means[draw] = resampled @ multiplicities(len(resampled), rng) / len(resampled)
    return per_point, means


MOST_SPLITS = 1000
"""Splits of the seeds that a noise ceiling averages over; of more (from 14 seeds on), so many drawn at random."""
DRAWN_SPLITS = 10
"""Splits that each bootstrap draw of its interval averages over."""


@checked_arguments
def noise_ceiling(
    margins: Float[np.ndarray, "s r m"], *, rng: np.random.Generator, draws: int = 1000
) -> DatamodelingScore:
    """Score that the true effects would reach: the correlation of the mean margin with its noise-free value.

    Two halves of the seeds both carry noise, so their correlation r is below what a noise-free prediction reaches
    against the mean of all seeds. Averaged over all splits into halves, r gives √(2r/(1+r)) (Spearman and Brown).

    Parameters
    ----------
    margins : ndarray, shape (s, r, m)
        Subsets, seeds (at least 2), test points.
    rng : numpy Generator
        For the interval over subsets and test points (`linear_datamodeling_score`).
    draws : int
        Bootstrap draws.

    Returns
    -------
    DatamodelingScore
        0 for test points whose halves do not correlate. The mean is that of the mean r over test points: r of a single
        point is noisy, and the mean over points of what each could reach is never above it, because √ is concave.

    Notes
    -----
    An odd number of seeds has halves of a and b = a + 1 seeds. With noise variance q of one seed over that of the
    signal, r = 1/√((1 + q/a)(1 + q/b)), which is solved for q; the ceiling is 1/√(1 + q/(a + b)). For a = b this is
    √(2r/(1+r)).

    References
    ----------
    Spearman (1910), "Correlation calculated from faulty data", British Journal of Psychology 3.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.attribution import noise_ceiling
    >>> rng = np.random.default_rng(0)
    >>> signal = rng.normal(size=(60, 1, 20))  # 60 subsets, 20 test points
    >>> margins = signal + rng.normal(size=(60, 4, 20))  # 4 seeds with noise as large as the signal
    >>> round(noise_ceiling(margins, rng=rng, draws=50).mean.estimate, 2)  # true value 1/√(1 + 1/4) = 0.89
    0.88
    """
    subsets, seeds, _ = margins.shape
    if seeds < 2:
        raise ValueError("A noise ceiling needs at least 2 seeds per subset.")
    if subsets < 3:
        raise ValueError(f"A rank correlation over {subsets} subsets says nothing; retrain on more.")
    check_finite(margins=margins)
    halves = [_halves(margins, first) for first in _splits(seeds, rng)]

    def score(taken: Int[np.ndarray, " t"]) -> Float[np.ndarray, " m"]:
        every = len(taken) == subsets and bool((taken == np.arange(subsets)).all())
        chosen = halves if every else [halves[i] for i in rng.permutation(len(halves))[:DRAWN_SPLITS]]
        return np.mean([np.nan_to_num(stability(a[:, taken], b[:, taken])) for a, b in chosen], axis=0)

    per_point, means = _over_subsets_and_points(score, subsets, draws, rng)
    top = float(_full_reliability(per_point.mean(keepdims=True), seeds)[0])
    interval = interval_from_draws(top, _full_reliability(means, seeds), kind="percentile")
    return DatamodelingScore(_full_reliability(per_point, seeds), interval)


def _splits(seeds: int, rng: np.random.Generator) -> list[tuple[int, ...]]:
    """All ways to choose half of the seeds (the smaller half), each unordered split once; at most MOST_SPLITS."""
    half = seeds // 2
    if math.comb(seeds, half) > MOST_SPLITS * (2 if seeds % 2 == 0 else 1):
        return [tuple(rng.permutation(seeds)[:half].tolist()) for _ in range(MOST_SPLITS)]
    return [one for one in itertools.combinations(range(seeds), half) if seeds % 2 or 0 in one]


def _halves(margins: Float[np.ndarray, "s r m"], first: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    second = np.setdiff1d(np.arange(margins.shape[1]), first)
    return margins[:, list(first)].mean(1).T, margins[:, second].mean(1).T


def _full_reliability(r: Float[np.ndarray, " m"], seeds: int) -> Float[np.ndarray, " m"]:
    """Correlation of the mean of all seeds with the signal, from that of two halves with each other."""
    a, b = seeds // 2, seeds - seeds // 2
    known = np.clip(r, 1e-12, 1.0)
    # (1 + q/a)(1 + q/b) = 1/r², solved for the noise q of one seed
    noise = (np.sqrt((a + b) ** 2 + 4 * a * b * (1 / known**2 - 1)) - (a + b)) / 2
    return np.where(r > 0, 1 / np.sqrt(1 + noise / seeds), 0.0)
