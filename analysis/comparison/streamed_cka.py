"""Unbiased CKA of many feature sets over the same examples, from batches: no set is ever held whole.

The unbiased estimate of HSIC of linear kernels K = XXᵀ, L = YYᵀ without their diagonals (Song et al., JMLR 2012,
equation 5; for CKA: arXiv 2010.15327) is, up to a factor that cancels,

    tr(KL) + (1ᵀK1)(1ᵀL1) / ((n-1)(n-2)) - 2/(n-2) 1ᵀKL1,

and each of its terms is a sum over examples of products of features (`CrossProducts`: one pass, memory grows with the
square of all widths together) or over pairs of examples (`analysis.comparison.gram_tiles`: every pair of row blocks is
read, memory grows with a block). Both give all pairs of sets at once. Features are first shifted by the mean of the
first batch: that changes no value, and keeps large means from taking the digits.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from analysis.comparison.gram_tiles import hsic_of, only_varying

Batch = Sequence[Float[np.ndarray, "b _"]]


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
        self._types: list[np.dtype] = []
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
            self._types = [part.dtype for part in batch]
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
        hsic = hsic_of(traces, rows, whole, self.count)
        return only_varying(hsic, self._norm, self.count, self._shift, self._types)


def cka_of(hsic: Float[np.ndarray, "s s"]) -> Float[np.ndarray, "s s"]:
    """Normalize HSIC to CKA; NaN where a set does not vary.

    Near 0 for unrelated sets, also below; within [-1, 1], since the estimate is an inner product of centered matrices
    (Székely and Rizzo, Annals of Statistics 42, 2014), and 1 where both are the same up to rotation and scale.
    """
    own = np.diag(hsic)
    scale = np.sqrt(np.where(own > 0, own, np.nan))
    return hsic / scale[:, None] / scale
