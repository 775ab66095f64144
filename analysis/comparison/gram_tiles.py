"""Unbiased HSIC of many feature sets from Gram matrices of blocks of examples: of all pairs, or of those in a batch.

A block of a Gram matrix is summed in float64 over chunks of columns, each multiplied in float32 where the features have
no more digits than that. How much float32 loses depends on them, so that some entries of every block are computed in
float64 beside it: where their root mean square error is more than `TOLERANCE` of the root mean square of the centered
block, the whole block is multiplied again in float64. A CKA, as the cosine of two centered Gram matrices, is then wrong
by twice that at most; errors of different entries have nothing to do with each other, so that it is by far less.

Only pairs within batches (minibatch CKA, arXiv 2010.15327, equation 3): the estimate of every batch is unbiased by
itself, and their sum, each weighted by its pairs, takes one pass and memory for one batch, however wide the sets are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float

Read = Callable[[int, int, int], np.ndarray]
"""Gives the features (b, D) of a set, examples start to stop, as they are stored; called often."""
Refuse = Callable[[int, int, int], None]
"""Raises an error if features of a set, examples start to stop, are NaN or infinite."""
COLUMNS = 4096
"""Features that are multiplied at a time."""
PROBES = 8
"""Entries of a block that are computed in float64 beside it, at most; of a small block one for 32 rows, and two."""
SHIFTED_BY = 64
"""Examples whose mean is subtracted: any shift will do, a near one keeps large means from taking the digits."""
TOLERANCE = 1e-4
"""Largest error of a block, relative to its centered entries, with which float32 is taken."""
FEWEST = 4
"""Examples from which the estimate is defined."""


def hsic_of(
    traces: Float[np.ndarray, "s s"], rows: Float[np.ndarray, "s s"], whole: Float[np.ndarray, " s"], n: int
) -> Float[np.ndarray, "s s"]:
    """Put unbiased HSIC together, times n(n-3), from tr(KL), 1ᵀKL1 and 1ᵀK1 of Gram matrices without diagonals."""
    if n < FEWEST:
        raise ValueError(f"Unbiased CKA needs at least {FEWEST} examples, there are {n}.")
    return traces + np.outer(whole, whole) / ((n - 1) * (n - 2)) - 2 / (n - 2) * rows


def only_varying(
    hsic: Float[np.ndarray, "s s"],
    squares: Float[np.ndarray, " s"],
    n: float,
    shifts: Sequence[np.ndarray],
    types: Sequence[np.dtype],
) -> Float[np.ndarray, "s s"]:
    """Put NaN for sets that do not vary, judged by their own size: rounding is all that moves them.

    Parameters
    ----------
    hsic : ndarray
        Times n(n-3).
    squares : ndarray
        Sum of the squared norms of the shifted features.
    n : float
        Number of examples; of several batches the root of the sum of their squares.
    shifts, types : sequence
        What was subtracted from each set, and the type that its features are stored as.
    """
    means = np.array([float((np.asarray(shift, np.float64) ** 2).sum()) for shift in shifts])
    grain = np.array([np.finfo(kind).eps if kind.kind == "f" else 0.0 for kind in types])
    varies = (np.diag(hsic) > 1e-12 * squares**2) & (squares > n * (8 * grain) ** 2 * means)
    return np.where(varies[:, None] & varies, hsic, np.nan)


class Grams:
    """Blocks of the Gram matrices of all sets.

    Parameters
    ----------
    begun : sequence of ndarray
        The first examples of each set.
    refuse : callable
        Called for a block that is not finite.

    Attributes
    ----------
    single, redone : int
        Blocks multiplied in float32, and those of them that were multiplied again in float64.
    """

    def __init__(self, begun: Sequence[np.ndarray], refuse: Refuse) -> None:
        self.types = [part.dtype for part in begun]
        self.shifts = [
            part[:SHIFTED_BY].mean(axis=0, dtype=np.float32 if _single(part.dtype) else np.float64) for part in begun
        ]
        self._refuse = refuse
        self.single = self.redone = 0

    def block(
        self, place: int, left: np.ndarray, right: np.ndarray, first: int, second: int
    ) -> Float[np.ndarray, "b c"]:
        """Multiply the examples of one set from ``first`` on with those from ``second`` on."""
        shift, same = self.shifts[place], first == second
        with np.errstate(over="ignore", invalid="ignore"):
            if _single(left.dtype):
                self.single += 1
                tile = _product(left, right, shift, np.float32, same)
                if _error(tile, left, right, shift, same) <= TOLERANCE:
                    return tile
                self.redone += 1
            tile = _product(left, right, shift, np.float64, same)
        if not np.isfinite(tile).all():
            self._refuse(place, first, first + len(left))
            self._refuse(place, second, second + len(right))
            raise ValueError("Features are so large that their products overflow: scale them.")
        return tile

    @property
    def said(self) -> str:
        """Precision of the products, in words."""
        if not self.single:
            return "in float64"
        again = f", {self.redone} of {self.single} blocks again in float64" if self.redone else ""
        return f"in float32{again}"


def _single(kind: np.dtype) -> bool:
    return kind.kind == "f" and kind.itemsize <= 4


def _product(
    left: np.ndarray, right: np.ndarray, shift: np.ndarray, kind: type, same: bool
) -> Float[np.ndarray, "b c"]:
    width = left.shape[1]
    buffers = np.empty((1 if same else 2, max(len(left), len(right)) * min(COLUMNS, width)), kind)
    tile = np.zeros((len(left), len(right)))
    for start in range(0, width, COLUMNS):
        columns = slice(start, min(start + COLUMNS, width))
        a = _shifted(left, columns, shift, buffers[0])
        b = a if same else _shifted(right, columns, shift, buffers[1])
        tile += a @ b.T
    return tile


def _shifted(features: np.ndarray, columns: slice, shift: np.ndarray, buffer: np.ndarray) -> np.ndarray:
    part = features[:, columns]
    return np.subtract(part, shift[columns], out=buffer[: part.size].reshape(part.shape))


def _error(tile: np.ndarray, left: np.ndarray, right: np.ndarray, shift: np.ndarray, same: bool) -> float:
    """Error of some entries over the size of the centered ones, both as root mean squares; infinite where that is 0."""
    count = min(PROBES, 2 + len(left) // 32, len(left), len(right))
    rows = np.arange(count) * len(left) // count
    columns = (rows + 1) % len(left) if same else np.arange(count) * len(right) // count
    exact = np.einsum("ij,ij->i", left[rows] - shift.astype(np.float64), right[columns] - shift.astype(np.float64))
    apart = tile
    if same and len(tile) > 1:
        apart, inside = tile.copy(), np.arange(len(tile))
        apart[inside, inside] = (tile.sum(axis=1) - np.diag(tile)) / (len(tile) - 1)
    apart = apart - apart.mean(axis=1, keepdims=True)
    apart -= apart.mean(axis=0)
    size = float(np.sqrt((apart**2).mean()))
    found = float(np.sqrt(((tile[rows, columns] - exact) ** 2).mean()))
    return found / size if np.isfinite(found) and size > 0 else np.inf


def tiled_hsic(
    read: Read, sets: int, examples: int, block: int, *, refuse: Refuse
) -> tuple[Float[np.ndarray, "s s"], str]:
    """Unbiased HSIC of every pair of sets over all pairs of examples, up to one factor; and the precision, in words.

    Parameters
    ----------
    read, refuse : callable
        See above.
    sets, examples : int
        Numbers of feature sets and of examples.
    block : int
        Examples in a block.
    """
    grams = Grams([read(place, 0, min(SHIFTED_BY, block, examples)) for place in range(sets)], refuse)
    products, sums, squares = np.zeros((sets, sets)), np.zeros((sets, examples)), np.zeros(sets)
    for first in range(0, examples, block):
        for second in range(first, examples, block):
            ends = min(first + block, examples), min(second + block, examples)
            tiles = np.empty((sets, ends[0] - first, ends[1] - second))
            for place in range(sets):
                left = read(place, first, ends[0])
                right = left if second == first else read(place, second, ends[1])
                tiles[place] = grams.block(place, left, right, first, second)
            if second == first:
                squares += _without_diagonals(tiles)
            flat = tiles.reshape(sets, -1)
            products += flat @ flat.T * (1 if second == first else 2)
            sums[:, first : ends[0]] += tiles.sum(axis=2)
            if second != first:
                sums[:, second : ends[1]] += tiles.sum(axis=1)
    hsic = hsic_of(products, sums @ sums.T, sums.sum(axis=1), examples)
    return only_varying(hsic, squares, examples, grams.shifts, grams.types), grams.said


def _without_diagonals(tiles: Float[np.ndarray, "s b b"]) -> Float[np.ndarray, " s"]:
    """Set diagonals to 0, which play no part; their sums."""
    diagonals = np.einsum("aii->ai", tiles)
    found = diagonals.sum(axis=1)
    diagonals[:] = 0
    return found


class BatchHSIC:
    """Unbiased HSIC of every pair of sets over pairs of examples in the same batch; batches come once.

    Parameters
    ----------
    refuse : callable
        See above; counts examples within the batch.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.comparison.gram_tiles import BatchHSIC
    >>> from analysis.comparison.streamed_cka import cka_of
    >>> x = np.random.default_rng(0).normal(size=(40, 3))
    >>> sums = BatchHSIC(lambda place, start, stop: None)
    >>> for part in np.array_split(x, 4):
    ...     sums.add([part, 2 * part + 1])
    >>> cka_of(sums.hsic()).round(6)
    array([[1., 1.],
           [1., 1.]])
    """

    def __init__(self, refuse: Refuse) -> None:
        self._refuse = refuse
        self._grams: Grams | None = None
        self._hsic = self._squares = np.zeros(0)
        self._pairs = self._counts = 0

    def add(self, batch: Sequence[np.ndarray]) -> None:
        """Add the features of some examples, one array (b, D) per set."""
        if len(batch[0]) < FEWEST:
            raise ValueError(
                f"A batch has {len(batch[0])} examples: pairs within batches need at least {FEWEST} in each."
            )
        if self._grams is None:
            self._grams = Grams(batch, self._refuse)
            self._hsic, self._squares = np.zeros((len(batch), len(batch))), np.zeros(len(batch))
        count = len(batch[0])
        tiles = np.stack([self._grams.block(place, part, part, 0, 0) for place, part in enumerate(batch)])
        self._squares += _without_diagonals(tiles)
        flat, sums = tiles.reshape(len(batch), -1), tiles.sum(axis=2)
        self._hsic += hsic_of(flat @ flat.T, sums @ sums.T, sums.sum(axis=1), count)
        self._pairs, self._counts = self._pairs + count * (count - 1), self._counts + count

    def hsic(self) -> Float[np.ndarray, "s s"]:
        """Unbiased HSIC of every pair of sets, up to one factor."""
        if self._grams is None:
            raise ValueError("No batch was added.")
        examples = self._pairs**0.5  # one batch as large as all pairs together
        squares = self._squares * (examples / self._counts)
        return only_varying(self._hsic, squares, examples, self._grams.shifts, self._grams.types)

    @property
    def said(self) -> str:
        """Precision of the products, in words."""
        return "in float64" if self._grams is None else self._grams.said


def tile_bytes(widths: Sequence[int], examples: int, block: int) -> int:
    """Memory of `tiled_hsic`: blocks as read and shifted, tiles, shifts and row sums."""
    widest, sets = max(widths), len(widths)
    blocks = 2 * block * (widest + min(COLUMNS, widest)) + 4 * PROBES * widest
    return 8 * (blocks + (sets + 4) * block * block + 2 * sum(widths) + 2 * sets * examples)


def batch_bytes(widths: Sequence[int], batch: int) -> int:
    """Memory of `BatchHSIC` beside the batch itself."""
    widest, sets = max(widths), len(widths)
    return 8 * (2 * batch * min(COLUMNS, widest) + 4 * PROBES * widest + (2 * sets + 4) * batch**2 + 2 * sum(widths))
