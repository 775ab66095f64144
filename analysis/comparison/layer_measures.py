"""How alike one layer is in two runs, beside CKA: orthogonal Procrustes, and nearest neighbors in common.

Procrustes: what of one layer a rotation of the other reproduces, s = ‖XᵀY‖_* / (‖X‖_F ‖Y‖_F) of centered features, so
that the smallest squared distance after scaling both to norm 1 is 2 - 2s (Schönemann, Psychometrika 31, 1966; as a
distance of representations: arXiv 2108.01661). ‖·‖_* is the sum of the singular values. Unlike the unbiased CKA it is
not 0 for unrelated layers: with few examples for the width a rotation always fits something. The value for the same two
layers with the examples of one moved by one place stands beside it.

Neighbors: the share of each example's k nearest other examples (Euclidean) that are the same in both layers, mean over
examples (mutual k nearest neighbors, arXiv 2405.07987); of unrelated layers k/(n - 1).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypedDict

import numpy as np
from jaxtyping import Float, Int

Read = Callable[[int, int], Float[np.ndarray, "b _"]]
"""Gives the features of examples start to stop of one layer of one run."""
MEASURES = ("cka", "procrustes", "neighbors")


class MeasureRow(TypedDict):
    """One layer between seeds by a further measure, mean over pairs of runs, and what unrelated layers would give."""

    layer: str
    measure: str
    value: float
    low: float
    high: float
    chance: float
    runs: int


NAMES = {"procrustes": "similarity after the best rotation", "neighbors": "nearest neighbors in common"}
"""Further measures in words."""


def rotation_share(product: Float[np.ndarray, "d e"], left: float, right: float) -> float:
    """Similarity s of two centered feature sets from XᵀY, ‖X‖² and ‖Y‖²; NaN where one does not vary.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.comparison.layer_measures import rotation_share
    >>> x = np.array([[1.0, 0.0], [-1.0, 2.0], [0.0, -2.0]])
    >>> turned = x @ [[0.0, 1.0], [-1.0, 0.0]]
    >>> round(rotation_share(x.T @ turned, (x**2).sum(), (turned**2).sum()), 6)
    1.0
    """
    if not (left > 0 and right > 0):
        return float("nan")
    return float(min(1.0, np.linalg.svd(product, compute_uv=False).sum() / np.sqrt(left * right)))


class PairedProducts:
    """Sums over examples behind the Procrustes similarity of pairs of feature sets; batches come once.

    Parameters
    ----------
    widths : sequence of int
        Features of each set.
    pairs : sequence of (int, int)
        Sets that are compared.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.comparison.layer_measures import PairedProducts
    >>> x = np.random.default_rng(0).normal(size=(40, 3))
    >>> sums = PairedProducts([3, 3], [(0, 1)])
    >>> for part in np.array_split(x, 4):
    ...     sums.add([part, 1 - 2 * part])
    >>> sums.shares()[0].round(3)  # and by chance
    array([1.   , 0.185])
    """

    def __init__(self, widths: Sequence[int], pairs: Sequence[tuple[int, int]]) -> None:
        self.pairs, self.count = list(pairs), 0
        self._shift: list[np.ndarray] = []
        self._sums = [np.zeros(width) for width in widths]
        self._norms = np.zeros(len(widths))
        self._products = [np.zeros((2, widths[a], widths[b])) for a, b in pairs]

    @staticmethod
    def bytes(widths: Sequence[int], pairs: Sequence[tuple[int, int]]) -> int:
        """Memory that the sums take, with a product that is being added and one that is being decomposed."""
        sizes = [widths[a] * widths[b] for a, b in pairs]
        return 8 * (2 * sum(sizes) + 4 * max(sizes, default=0))

    def add(self, batch: Sequence[Float[np.ndarray, "b _"]]) -> None:
        """Add the features of some examples, one array per set."""
        if not self._shift:
            self._shift = [part.mean(axis=0) for part in batch]  # large means would take the digits
        parts = [part - shift for part, shift in zip(batch, self._shift, strict=True)]
        self.count += len(parts[0])
        for place, part in enumerate(parts):
            self._sums[place] += part.sum(axis=0)
            self._norms[place] += np.einsum("ij,ij->", part, part)
        for (a, b), product in zip(self.pairs, self._products, strict=True):
            product[0] += parts[a].T @ parts[b]
            product[1] += parts[a].T @ np.roll(parts[b], 1, axis=0)

    def shares(self) -> Float[np.ndarray, "p 2"]:
        """Similarity of each pair, and that of the same two with examples moved by one place in their batch."""
        found = np.empty((len(self.pairs), 2))
        squares = self._norms - [total @ total / self.count for total in self._sums]
        squares = np.where(squares > 1e-12 * np.maximum(self._norms, np.finfo(np.float64).tiny), squares, 0.0)
        for place, (a, b) in enumerate(self.pairs):
            means = np.outer(self._sums[a], self._sums[b]) / self.count
            for which in range(2):
                product = self._products[place][which] - means
                found[place, which] = rotation_share(product, float(squares[a]), float(squares[b]))
        return found


def factor_of(read: Read, examples: int, block: int) -> Float[np.ndarray, "n n"]:
    """Centered features of fewer columns with the same inner products, for layers wider than there are examples.

    K = U S Uᵀ of the centered Gram matrix gives U S^½, which is X up to a rotation of its columns.
    """
    gram = np.empty((examples, examples))
    shift = read(0, min(block, examples)).mean(axis=0)
    for first in range(0, examples, block):
        left = read(first, min(first + block, examples)) - shift
        for second in range(first, examples, block):
            right = left if second == first else read(second, min(second + block, examples)) - shift
            tile = left @ right.T
            gram[first : first + len(left), second : second + len(right)] = tile
            gram[second : second + len(right), first : first + len(left)] = tile.T
    gram -= gram.mean(axis=0)
    gram -= gram.mean(axis=1, keepdims=True)
    values, vectors = np.linalg.eigh(gram)
    return vectors * np.sqrt(np.maximum(values, 0.0))


def nearest_neighbors(read: Read, examples: int, count: int, block: int) -> Int[np.ndarray, "n k"]:
    """Find the nearest other examples of each, by Euclidean distance; of equal distances the first.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.comparison.layer_measures import nearest_neighbors
    >>> line = np.array([[0.0], [1.0], [3.0], [7.0]])
    >>> nearest_neighbors(lambda start, stop: line[start:stop], 4, 1, block=2).ravel().tolist()
    [1, 0, 1, 2]
    """
    found = np.empty((examples, count), dtype=np.int64)
    shift = read(0, min(block, examples)).mean(axis=0)
    for first in range(0, examples, block):
        left = read(first, min(first + block, examples)) - shift
        apart = np.empty((len(left), examples))
        for second in range(0, examples, block):
            right = read(second, min(second + block, examples)) - shift
            norms = np.einsum("ij,ij->i", right, right)  # the own norm is the same for every neighbor
            apart[:, second : second + len(right)] = norms - 2 * left @ right.T
        apart[np.arange(len(left)), first + np.arange(len(left))] = np.inf
        found[first : first + len(left)] = np.argsort(apart, axis=1, kind="stable")[:, :count]
    return found


def shared_neighbors(left: Int[np.ndarray, "n k"], right: Int[np.ndarray, "n k"]) -> float:
    """Share of neighbors in common, mean over examples.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.comparison.layer_measures import shared_neighbors
    >>> shared_neighbors(np.array([[1, 2], [0, 2]]), np.array([[2, 3], [2, 0]]))
    0.75
    """
    return float((left[:, :, None] == right[:, None, :]).any(axis=2).mean())
