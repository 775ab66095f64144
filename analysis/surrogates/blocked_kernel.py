"""Products with a kernel matrix that is read in row blocks, from memory, a memory map or a device."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

_watching: ContextVar[Callable[[], None] | None] = ContextVar("watching", default=None)


@contextmanager
def each_pass(call: Callable[[], None]) -> Iterator[None]:
    """Call a function after every pass over a kernel while the block runs: fits take many, which may take minutes.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> passes = []
    >>> with each_pass(lambda: passes.append(1)):
    ...     product = KernelBlocks(np.eye(2)).times(torch.ones(2, 1))
    >>> len(passes)
    1
    """
    before = _watching.set(call)
    try:
        yield
    finally:
        _watching.reset(before)


class KernelBlocks:
    """A kernel matrix K, or a sub-matrix of it, that is only ever touched in row blocks.

    One pass over K serves a forward and a backward product at once (`curvature_pass`), so that a kernel
    on disk is read once for a gradient and once for a Hessian-vector product.

    Parameters
    ----------
    kernel : ndarray of float32 or float64, shape (m, n)
        May be a memory map; it is never copied whole unless it fits `memory`.
    rows, columns : ndarray of int or None
        Sub-matrix K[rows][:, columns], taken block by block (cross-validation drops both).
    device : str
        Torch device of the products.
    memory : int
        Bytes that one block may take on the device. A matrix that fits is moved there once.

    Notes
    -----
    Blocks keep the kernel's own precision; vectors and sums over blocks are float64.
    """

    def __init__(
        self,
        kernel: Float[np.ndarray, "m n"],
        *,
        rows: Int[np.ndarray, " r"] | None = None,
        columns: Int[np.ndarray, " c"] | None = None,
        device: str | torch.device = "cpu",
        memory: int = 2**30,
    ) -> None:
        self._kernel, self._rows, self._columns = kernel, rows, columns
        self.device = torch.device(device)
        self.dtype = torch.float32 if kernel.dtype == np.float32 else torch.float64
        # a float32 kernel that was widened keeps its rounding
        self.single = bool(np.array_equal(kernel[:1], kernel[:1].astype(np.float32)))
        self.shape = (
            kernel.shape[0] if rows is None else len(rows),
            kernel.shape[1] if columns is None else len(columns),
        )
        self._step = max(1, min(self.shape[0], memory // max(1, self.shape[1] * kernel.itemsize)))
        self._resident = self._load(0, self.shape[0]) if self._step >= self.shape[0] else None
        self.passes = 0

    def _load(self, start: int, stop: int) -> Tensor:
        rows: slice | np.ndarray = slice(start, stop) if self._rows is None else self._rows[start:stop]
        block = self._kernel[rows]
        if self._columns is not None:
            block = block[:, self._columns]
        if not block.flags.writeable:  # torch refuses to alias read-only memory
            block = block.copy()
        return torch.from_numpy(np.asarray(block)).to(self.device)

    def __iter__(self) -> Iterator[tuple[slice, Tensor]]:
        """Yield (row slice, row block) in order; one pass."""
        self.passes += 1
        if self._resident is not None:
            yield slice(0, self.shape[0]), self._resident
        else:
            for start in range(0, self.shape[0], self._step):
                stop = min(start + self._step, self.shape[0])
                yield slice(start, stop), self._load(start, stop)
        if (call := _watching.get()) is not None:
            call()

    def times(self, vectors: Float[Tensor, "n c"]) -> Float[Tensor, "m c"]:
        """Return K V in float64."""
        out = torch.empty(self.shape[0], vectors.shape[1], dtype=torch.float64, device=self.device)
        for rows, block in self:
            out[rows] = (block @ vectors.to(block.dtype)).double()
        return out

    def curvature_pass(
        self, vectors: Float[Tensor, "n c"], weigh: Callable[[slice, Tensor], Tensor]
    ) -> tuple[Float[Tensor, "m c"], Float[Tensor, "n c"]]:
        """Return S = K V and Kᵀ weigh(S) in one pass; `weigh` maps (row slice, its part of S) to its weight."""
        scores = torch.empty(self.shape[0], vectors.shape[1], dtype=torch.float64, device=self.device)
        back = torch.zeros(self.shape[1], vectors.shape[1], dtype=torch.float64, device=self.device)
        for rows, block in self:
            scores[rows] = (block @ vectors.to(block.dtype)).double()
            back += (block.T @ weigh(rows, scores[rows]).to(block.dtype)).double()
        return scores, back
