"""Split a surrogate's logit over training points: A(x, x_i)_c = W_ci κ(x, x_i), whose sum is the logit.

Every attribution method of this project returns a score matrix (test points x training points) under one sign
rule: positive means that the training point supports the class.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int, Shaped


def attribute(
    weights: Float[np.ndarray, "C n"],
    offsets: Float[np.ndarray, " C"],
    kernel: Float[np.ndarray, "m _"],
    classes: Int[np.ndarray, " m"],
    *,
    share_offset: bool = True,
) -> Float[np.ndarray, "m n"]:
    """Attribute one class's logit of each test point to the training points.

    Parameters
    ----------
    weights, offsets : ndarray, shapes (C, n), (C,)
        `weights_` and `offsets_` of a fitted surrogate.
    kernel : ndarray, shape (m, n)
        Test against training points.
    classes : ndarray of int, shape (m,)
        Class attributed for each test point: predicted, true or given.
    share_offset : bool
        Add b_c / n to every score, so that a row sums to the logit exactly; otherwise it is short by b_c.

    Returns
    -------
    ndarray, shape (m, n)
    """
    _check_shapes(weights, kernel, classes)
    scores = weights[classes] * kernel
    return scores + offsets[classes, None] / weights.shape[1] if share_offset else scores


def attribute_contrast(
    weights: Float[np.ndarray, "C n"],
    offsets: Float[np.ndarray, " C"],
    kernel: Float[np.ndarray, "m _"],
    classes: Int[np.ndarray, " m"],
    against: Int[np.ndarray, " m"],
    *,
    share_offset: bool = True,
) -> Float[np.ndarray, "m n"]:
    """Attribute the difference of two logits: A_a - A_b, antisymmetric in the two classes."""
    _check_shapes(weights, kernel, classes)
    _check_shapes(weights, kernel, against)
    scores = (weights[classes] - weights[against]) * kernel
    gap = (offsets[classes] - offsets[against])[:, None] / weights.shape[1]
    return scores + gap if share_offset else scores


def attribute_layers(
    weights: Float[np.ndarray, "C n"],
    parts: Mapping[str, Float[np.ndarray, "m _"]],
    classes: Int[np.ndarray, " m"],
) -> dict[str, Float[np.ndarray, "m n"]]:
    """Attribute through each layer's part of the kernel; parts under the total's normaliser sum to the whole.

    The intercept belongs to no layer: the parts' sum equals `attribute(..., share_offset=False)`.
    """
    for part in parts.values():
        _check_shapes(weights, part, classes)
    return {name: weights[classes] * part for name, part in parts.items()}


@dataclass(frozen=True)
class TopScores:
    """The k most supporting (or most opposing) training points of each test point, strongest first.

    Attributes
    ----------
    indices : ndarray of int, shape (m, k)
    scores : ndarray, shape (m, k)
    """

    indices: Int[np.ndarray, "m k"]
    scores: Float[np.ndarray, "m k"]


def top_scores(
    scores: Float[np.ndarray, "m n"], k: int, *, direction: Literal["support", "oppose"] = "support"
) -> TopScores:
    """Return each row's k largest (support) or smallest (oppose) scores; ties go to the smaller index."""
    if not 1 <= k <= scores.shape[1]:
        raise ValueError(f"k must lie in 1..{scores.shape[1]} (training points), got {k}.")
    signed = -scores if direction == "support" else scores
    if k == scores.shape[1]:
        order = np.argsort(signed, axis=1, kind="stable")
    else:
        threshold = np.partition(signed, k - 1, axis=1)[:, k - 1 : k]
        order = np.empty((len(scores), k), np.int64)
        for row, (values, cut) in enumerate(zip(signed, threshold, strict=True)):
            better, equal = np.flatnonzero(values < cut), np.flatnonzero(values == cut)
            chosen = np.concatenate([better, equal[: k - better.size]])
            order[row] = chosen[np.lexsort((chosen, values[chosen]))]
    return TopScores(order, np.take_along_axis(scores, order, axis=1))


@dataclass(frozen=True)
class Sparsity:
    """How concentrated the attributions of each test point are.

    Attributes
    ----------
    gini : ndarray, shape (m,)
        Gini coefficient of |A|: 0 for equal shares, 1 - 1/n for a single point.
    points : dict of float to ndarray of int, shape (m,)
        Smallest number of training points that carry this share of Σ|A|.
    mean, quartiles : ndarray, shapes (m,), (m, 3)
        Of the signed scores; the published finding is that the mean lies inside the inter-quartile range.
    """

    gini: Float[np.ndarray, " m"]
    points: dict[float, Int[np.ndarray, " m"]]
    mean: Float[np.ndarray, " m"]
    quartiles: Float[np.ndarray, "m 3"]

    @property
    def mean_inside_quartiles(self) -> Shaped[np.ndarray, " m"]:
        """Whether the mean lies between the first and the third quartile."""
        return (self.quartiles[:, 0] <= self.mean) & (self.mean <= self.quartiles[:, 2])


def sparsity(scores: Float[np.ndarray, "m n"], shares: Iterable[float] = (0.5, 0.8, 0.95)) -> Sparsity:
    """Measure how few training points carry the attributions of each test point.

    Raises
    ------
    ValueError
        If a row holds no attribution at all.
    """
    ordered = np.sort(np.abs(scores), axis=1)
    total = ordered.sum(1)
    if (total == 0).any():
        raise ValueError(
            f"{int((total == 0).sum())} test points have attributions that are all zero (first: "
            f"{int((total == 0).argmax())}): their kernel rows or the weights vanish."
        )
    n = scores.shape[1]
    gini = (ordered @ (2 * np.arange(1, n + 1) - n - 1)) / (n * total)
    points = {
        float(share): (np.cumsum(ordered[:, ::-1], axis=1) < share * total[:, None] * (1 - 1e-12)).sum(1) + 1
        for share in shares
    }
    return Sparsity(gini, points, scores.mean(1), np.quantile(scores, [0.25, 0.5, 0.75], axis=1).T)


def cumulative_share(scores: Float[np.ndarray, "m n"]) -> Float[np.ndarray, "m n"]:
    """Return the share of Σ|A| that the j strongest points carry, j = 1..n: the sparsity curve."""
    ordered = np.sort(np.abs(scores), axis=1)[:, ::-1]
    return np.cumsum(ordered, axis=1) / ordered.sum(1, keepdims=True)


def _check_shapes(weights: np.ndarray, kernel: np.ndarray, classes: np.ndarray) -> None:
    if kernel.shape[1] != weights.shape[1] or len(classes) != len(kernel):
        raise ValueError(
            f"A kernel (test x train) of {kernel.shape} does not match weights for {weights.shape[1]} training "
            f"points and {len(classes)} classes: rows are test points, columns the training points of the fit."
        )
    if ((classes < 0) | (classes >= weights.shape[0])).any():
        raise ValueError(f"Classes must lie in 0..{weights.shape[0] - 1}, got {classes.min()}..{classes.max()}.")
