"""A computed kernel: the matrix, its parts by layer, its diagonals, and how it was made."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor


@dataclass
class KernelResult:
    """A kernel matrix that can be used as an array.

    ``numpy.asarray(result)``, ``result[i, j]``, ``len(result)`` and ``result.shape`` refer to :attr:`matrix`.

    Attributes
    ----------
    matrix : Tensor, shape (N, N), or (M, N) for test x train; (N, N, C, C) for ``entk``
        The kernel, normalized if requested.
    diagonal : Tensor, shape (rows,) or (rows, C)
        Squared feature norms of the row samples before normalization.
    column_diagonal : Tensor
        The same for the columns; the same object for a square kernel. None where no diagonal was needed (an
        unnormalized rectangular kernel).
    parts : dict of str to Tensor
        Layer parts of a layerwise kernel, by parameter, module or group.
    metadata : dict
        Plan, coverage, precision, fingerprints, duplicates, seconds.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from kernels import KernelResult
    >>> result = KernelResult(torch.eye(2), diagonal=torch.ones(2), column_diagonal=torch.ones(2))
    >>> result.shape, float(result[0, 1]), float(np.asarray(result).trace())
    (torch.Size([2, 2]), 0.0, 2.0)
    """

    matrix: Tensor
    diagonal: Tensor | None
    column_diagonal: Tensor | None
    parts: dict[str, Tensor] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def shape(self) -> torch.Size:
        """Shape of the matrix."""
        return self.matrix.shape

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.matrix)

    def __getitem__(self, index: Any) -> Tensor:
        """Index the matrix."""
        return self.matrix[index]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Return the matrix as a NumPy array."""
        return np.array(self.matrix.cpu().numpy(), dtype=dtype, copy=copy)

    def numpy(self) -> np.ndarray:
        """Return the matrix as a NumPy array, without a copy where it is in main memory."""
        return self.matrix.cpu().numpy()


def divide_by_diagonals(
    matrix: Tensor, rows: Tensor, columns: Tensor, *, exact_diagonal: bool, block: int = 1024
) -> None:
    """Divide in place by the root of both diagonals (cosine of the feature vectors).

    Parameters
    ----------
    matrix : Tensor, shape (n, m) or (n, m, C, C)
        Kernel.
    rows, columns : Tensor, shapes (n,), (m,) or (n, C), (m, C)
        Squared norms. Where one is zero the row or column becomes zero.
    exact_diagonal : bool
        Whether ``matrix`` is square over one set of samples, so that its diagonal is set to exactly 1.
    block : int
        Rows done at a time.
    """
    left, right = inverse_roots(rows), inverse_roots(columns)
    for start in range(0, len(matrix), block):
        piece = slice(start, min(start + block, len(matrix)))
        # The product of the two roots first: it does not depend on their order, so symmetry survives rounding.
        if matrix.ndim == 2:
            matrix[piece] *= left[piece, None] * right[None]
        else:
            matrix[piece] *= left[piece, None, :, None] * right[None, :, None, :]
    if exact_diagonal:
        where = torch.arange(len(matrix))
        alive = (rows > 0).to(matrix.dtype)
        if matrix.ndim == 2:
            matrix[where, where] = alive
        else:
            classes = torch.arange(matrix.shape[2])
            matrix[where[:, None], where[:, None], classes, classes] = alive


def inverse_roots(squares: Tensor) -> Tensor:
    """1 / sqrt(d), and 0 where d is 0."""
    return torch.where(squares > 0, squares.clamp_min(torch.finfo(squares.dtype).tiny).rsqrt(), 0.0)


def mirror(matrix: Tensor, block: int = 256) -> None:
    """Copy the upper triangle of a square kernel onto the lower one, in place."""
    n = len(matrix)
    for start in range(0, n, block):
        rows = slice(start, min(start + block, n))
        here = matrix[rows, rows]
        count = here.shape[0]
        upper = torch.ones(count, count, dtype=torch.bool, device=matrix.device).triu()
        upper = upper if matrix.ndim == 2 else upper[:, :, None, None]
        matrix[rows, rows] = torch.where(upper, here, swapped(here))
        if rows.stop < n:
            matrix[rows.stop :, rows] = swapped(matrix[rows, rows.stop :])


def swapped(tile: Tensor) -> Tensor:
    """Return an (n, m) or (n, m, C, C) tile with its two sides, samples and classes, exchanged."""
    return tile.transpose(0, 1) if tile.ndim == 2 else tile.permute(1, 0, 3, 2)
