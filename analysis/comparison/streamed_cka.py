"""Unbiased CKA of many feature sets over the same examples, from batches: no set is ever held whole.

The unbiased estimate of HSIC of linear kernels K = XXᵀ, L = YYᵀ without their diagonals (Song et al., JMLR 2012,
equation 5; for CKA: arXiv 2010.15327) is, up to a factor that cancels,

    tr(KL) + (1ᵀK1)(1ᵀL1) / ((n-1)(n-2)) - 2/(n-2) 1ᵀKL1,

and each of its terms is a sum over examples of products of features (`CrossProducts`: one pass, memory grows with the
square of all widths together) or over pairs of examples (`tiled_hsic`: every pair of row blocks is read, memory grows
with a block). Both give all pairs of sets at once, in float64. Features are first shifted by the mean of the first
batch: that changes no value, and keeps large means from taking the digits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float

Batch = Sequence[Float[np.ndarray, "b _"]]
FEWEST = 4
"""Examples from which the estimate is defined."""


class CrossProducts:
    """Sums over examples from which all pairs of feature sets are compared; batches come in any order, once.

    Parameters
    ----------
    widths : sequence of int
        Features of each set.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.comparison.streamed_cka import CrossProducts, cka_of
    >>> x = np.random.default_rng(0).normal(size=(40, 3))
    >>> sums = CrossProducts([3, 3])
    >>> for part in np.array_split(x, 4):
    ...     sums.add([part, 2 * part + 1])
    >>> cka_of(sums.hsic()).round(6)
    array([[1., 1.],
           [1., 1.]])
    """

    def __init__(self, widths: Sequence[int]) -> None:
        self.places = np.concatenate([[0], np.cumsum(widths)])
        total, sets = int(self.places[-1]), len(widths)
        self.count = 0
        self._shift: list[np.ndarray] = []
        self._product = np.zeros((total, total))  # ZᵀZ of all sets side by side
        self._sum = np.zeros(total)
        self._by_norm = np.zeros((total, sets))  # Σ z |x_a|²
        self._norms = np.zeros((sets, sets))  # Σ |x_a|² |x_b|²
        self._norm = np.zeros(sets)

    @staticmethod
    def bytes(widths: Sequence[int]) -> int:
        """Memory that the sums take: for a product as large as the one that is kept, twice."""
        return 8 * sum(widths) * (2 * sum(widths) + len(widths))

    def add(self, batch: Batch) -> None:
        """Add the features of some examples, one array (b, D) per set."""
        if not self._shift:
            self._shift = [part.mean(axis=0) for part in batch]
        parts = [part - shift for part, shift in zip(batch, self._shift, strict=True)]
        joined = np.concatenate(parts, axis=1)
        norms = np.stack([np.einsum("ij,ij->i", part, part) for part in parts], axis=1)
        self.count += len(joined)
        self._product += joined.T @ joined
        self._sum += joined.sum(axis=0)
        self._by_norm += joined.T @ norms
        self._norms += norms.T @ norms
        self._norm += norms.sum(axis=0)

    def hsic(self) -> Float[np.ndarray, "s s"]:
        """Unbiased HSIC of every pair of sets, up to one factor."""
        sets = len(self._norm)
        traces, rows = np.empty((sets, sets)), np.empty((sets, sets))
        inside = [slice(first, last) for first, last in zip(self.places[:-1], self.places[1:], strict=True)]
        for a in range(sets):
            for b in range(sets):
                left, right, product = self._sum[inside[a]], self._sum[inside[b]], self._product[inside[a], inside[b]]
                traces[a, b] = np.einsum("ij,ij->", product, product) - self._norms[a, b]
                rows[a, b] = left @ product @ right + self._norms[a, b]
                rows[a, b] -= left @ self._by_norm[inside[a], b] + right @ self._by_norm[inside[b], a]
        whole = np.array([(self._sum[part] ** 2).sum() for part in inside]) - self._norm
        return _hsic(traces, rows, whole, self.count)


def tiled_hsic(read: Callable[[int, int], Batch], sets: int, examples: int, block: int) -> Float[np.ndarray, "s s"]:
    """Unbiased HSIC of every pair of sets, up to one factor, from pairs of blocks of examples.

    Parameters
    ----------
    read : callable
        Gives the features of examples start to stop, one array (b, D) per set; called often.
    sets, examples : int
        Numbers of feature sets and of examples.
    block : int
        Examples in a block.
    """
    products, sums = np.zeros((sets, sets)), np.zeros((sets, examples))
    shift = [part.mean(axis=0) for part in read(0, min(block, examples))]

    def shifted(start: int) -> list[np.ndarray]:
        parts = read(start, min(start + block, examples))
        return [part - mean for part, mean in zip(parts, shift, strict=True)]

    for first in range(0, examples, block):
        left = shifted(first)
        for second in range(first, examples, block):
            right = left if second == first else shifted(second)
            tiles = np.stack([a @ b.T for a, b in zip(left, right, strict=True)])
            if second == first:
                np.einsum("aii->ai", tiles)[:] = 0  # the diagonals play no part
            flat = tiles.reshape(sets, -1)
            products += flat @ flat.T * (1 if second == first else 2)
            sums[:, first : first + block] += tiles.sum(axis=2)
            if second != first:
                sums[:, second : second + block] += tiles.sum(axis=1)
    return _hsic(products, sums @ sums.T, sums.sum(axis=1), examples)


def tile_bytes(widths: Sequence[int], examples: int, block: int) -> int:
    """Memory of `tiled_hsic`: features of two blocks as read and shifted, the tiles, and the row sums."""
    return 8 * (4 * block * sum(widths) + 2 * len(widths) * block * block + len(widths) * examples)


def _hsic(traces: np.ndarray, rows: np.ndarray, whole: np.ndarray, n: int) -> Float[np.ndarray, "s s"]:
    if n < FEWEST:
        raise ValueError(f"Unbiased CKA needs at least {FEWEST} examples, there are {n}.")
    return traces + np.outer(whole, whole) / ((n - 1) * (n - 2)) - 2 / (n - 2) * rows


def cka_of(hsic: Float[np.ndarray, "s s"]) -> Float[np.ndarray, "s s"]:
    """Normalize HSIC to CKA; NaN where a set does not vary (its own HSIC is 0, or below by rounding).

    Near 0 for unrelated sets, also below; within [-1, 1], since the estimate is an inner product of centered matrices
    (Székely and Rizzo, Annals of Statistics 42, 2014), and 1 where both are the same up to rotation and scale.
    """
    own = np.diag(hsic)
    varies = own > 1e-12 * max(float(np.abs(own).max()), np.finfo(np.float64).tiny)
    scale = np.sqrt(np.where(varies, own, np.nan))
    return hsic / scale[:, None] / scale
