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

from kernels.arguments import checked_arguments


@checked_arguments
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

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.attribution import attribute
    >>> weights, offsets = np.array([[-0.5, 1.0], [0.5, -1.0]]), np.array([0.2, -0.2])  # of a fitted surrogate
    >>> kernel = np.array([[1.0, 0.2]])  # one test point against two training points
    >>> scores = attribute(weights, offsets, kernel, np.array([1]))
    >>> scores, scores.sum(axis=1)  # the sum is the logit of class 1
    (array([[ 0.4, -0.3]]), array([0.1]))
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
    """Attribute the difference of two logits: A_a - A_b, antisymmetric in the two classes.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.attribution import attribute_contrast
    >>> weights, offsets = np.array([[-0.5, 1.0], [0.5, -1.0]]), np.array([0.2, -0.2])
    >>> kernel = np.array([[1.0, 0.2]])
    >>> attribute_contrast(weights, offsets, kernel, np.array([1]), np.array([0]))  # why class 1 rather than class 0
    array([[ 0.8, -0.6]])
    """
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
    """Attribute through each layer's part of the kernel; parts under the total's normalizer sum to the whole.

    The intercept belongs to no layer: the parts' sum equals `attribute(..., share_offset=False)`.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.attribution import attribute_layers
    >>> weights = np.array([[-0.5, 1.0], [0.5, -1.0]])
    >>> parts = {"hidden": np.array([[0.7, 0.1]]), "head": np.array([[0.3, 0.1]])}  # they sum to the kernel
    >>> attribute_layers(weights, parts, np.array([1]))["head"]
    array([[ 0.15, -0.1 ]])
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
    """Return each row's k largest (support) or smallest (oppose) scores; ties go to the smaller index.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.attribution import top_scores
    >>> scores = np.array([[0.1, -0.4, 0.3, 0.0]])
    >>> top_scores(scores, 2).indices, top_scores(scores, 1, direction="oppose").indices
    (array([[2, 0]]), array([[1]]))
    """
    if not 1 <= k <= scores.shape[1]:
        raise ValueError(f"k must be in 1..{scores.shape[1]} (training points), got {k}.")
    if direction not in ("support", "oppose"):
        raise ValueError(f"direction must be 'support' or 'oppose', got {direction!r}.")
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
        Of the signed scores; the published finding is that the mean is inside the inter-quartile range.
    """

    gini: Float[np.ndarray, " m"]
    points: dict[float, Int[np.ndarray, " m"]]
    mean: Float[np.ndarray, " m"]
    quartiles: Float[np.ndarray, "m 3"]

    @property
    def mean_inside_quartiles(self) -> Shaped[np.ndarray, " m"]:
        """Whether the mean is between the first and the third quartile."""
        return (self.quartiles[:, 0] <= self.mean) & (self.mean <= self.quartiles[:, 2])


def sparsity(scores: Float[np.ndarray, "m n"], shares: Iterable[float] = (0.5, 0.8, 0.95)) -> Sparsity:
    """Measure how few training points carry the attributions of each test point.

    Raises
    ------
    ValueError
        If a row holds no attribution at all.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.attribution import sparsity
    >>> scores = np.array([[0.25, -0.25, 0.25, 0.25], [4.0, 0.1, 0.0, -0.1]])
    >>> found = sparsity(scores)
    >>> found.gini.round(2), found.points[0.5]  # two of four points, and one, carry half of the attribution
    (array([0.  , 0.71]), array([2, 1]))
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
        raise ValueError(f"Classes must be in 0..{weights.shape[0] - 1}, got {classes.min()}..{classes.max()}.")
