"""A computed kernel: the matrix, its parts by layer, its diagonals, and how it was made."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kernels.contraction.array_like import ArrayLike, same_tensors, shown_array, tidy_table
from kernels.contraction.result_files import PART, read_result, write_result


@dataclass(eq=False, repr=False)
class KernelResult(ArrayLike):
    """A kernel matrix that can be used as an array.

    ``torch.as_tensor(K)``, ``numpy.asarray(K)``, ``K @ v``, ``K[i, j]``, arithmetic, and functions of torch, NumPy and
    scikit-learn (``SVC(kernel="precomputed").fit(K, y)``) take it for :attr:`matrix`.

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
        Kind, plan, coverage, certificate, precision, fingerprints, duplicates, file, seconds.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from kernels import KernelResult
    >>> K = KernelResult(torch.eye(2), diagonal=torch.ones(2), column_diagonal=torch.ones(2))
    >>> K.shape, float(K[0, 1]), float(np.trace(K)), K @ torch.tensor([1.0, 2.0])
    (torch.Size([2, 2]), 0.0, 2.0, tensor([1., 2.]))
    >>> K
    KernelResult: 2 x 2, float32, on cpu, 16 B
      kind: unknown
      normalized: unknown
      certificate: none
      file: none, kept in memory
    """

    matrix: Tensor
    diagonal: Tensor | None
    column_diagonal: Tensor | None
    parts: dict[str, Tensor] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)

    def _array(self) -> Tensor:
        return self.matrix

    @property
    def T(self) -> KernelResult:  # noqa: N802
        """The kernel with its two sides exchanged, with diagonals and parts; a view."""
        parts = {name: swapped(part) for name, part in self.parts.items()}
        return KernelResult(swapped(self.matrix), self.column_diagonal, self.diagonal, parts, dict(self.metadata))

    def equals(self, other: object) -> bool:
        """Whether matrix, diagonals and parts are the same, entry by entry; metadata are not compared."""
        return (
            isinstance(other, KernelResult)
            and same_tensors(self.matrix, other.matrix)
            and same_tensors(self.diagonal, other.diagonal)
            and same_tensors(self.column_diagonal, other.column_diagonal)
            and self.parts.keys() == other.parts.keys()
            and all(same_tensors(part, other.parts[name]) for name, part in self.parts.items())
        )

    def save(self, path: str | Path) -> None:
        """Write everything to one safetensors file, which appears whole; :meth:`load` gives it back exactly.

        Parameters
        ----------
        path : str or Path
            The file; one of the same name is replaced if it holds a kernel or features of this library.

        Raises
        ------
        ValueError
            If the path is a directory or holds something else.
        """
        same = self.column_diagonal is self.diagonal
        tensors = {"matrix": self.matrix, "row_diagonal": self.diagonal}
        tensors |= {"column_diagonal": None if same else self.column_diagonal}
        tensors |= {f"{PART}{name}": part for name, part in self.parts.items()}
        about = {"metadata": self.metadata, "one_diagonal": same, "parts": list(self.parts)}
        write_result(path, "kernel", tensors, about)

    @classmethod
    def load(cls, path: str | Path) -> KernelResult:
        """Read what :meth:`save` or ``out=`` wrote; the arrays are mapped from the file, not read into memory.

        Raises
        ------
        ValueError
            If the file holds no kernel, or is damaged.

        Examples
        --------
        >>> import tempfile
        >>> import torch
        >>> from kernels import KernelResult, kernel_matrix
        >>> K = kernel_matrix(torch.nn.Linear(2, 3), torch.eye(2))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     K.save(f"{folder}/kernel.safetensors")
        ...     KernelResult.load(f"{folder}/kernel.safetensors").equals(K)
        True
        """
        tensors, about = read_result(path, "kernel")
        rows = tensors.get("row_diagonal")
        columns = rows if about["one_diagonal"] else tensors.get("column_diagonal")
        names = about.get("parts") or [name.removeprefix(PART) for name in tensors if name.startswith(PART)]
        parts = {name: tensors[f"{PART}{name}"] for name in names}
        return cls(tensors["matrix"], rows, columns, parts, about["metadata"])

    def to_dataframe(self) -> Any:
        """Entries as a tidy pandas table, one row per entry: of every part where there are parts, else of the matrix.

        Returns
        -------
        pandas.DataFrame
            Columns ``row`` and ``column`` (positions of the samples), for ``entk`` also ``row_class`` and
            ``column_class``, ``part`` (where there are parts) and ``value``.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        axes = ("row", "column", "row_class", "column_class")[: self.ndim]
        return tidy_table(self.matrix, self.parts, axes)

    def __repr__(self) -> str:
        """Return five lines: size, kind, normalization, certificate and file."""
        about = self.metadata
        divided = about.get("normalize")
        normalized = {True: "cosine", False: "no", "part": "cosine, each part by its own diagonals"}
        kind = str(about.get("kind", "unknown"))
        if "precision" in about:
            kind += f", precision {about['precision']}"
        if "sketch" in about:
            kind += f", estimated by {about['sketch'].get('sketch')}"
        if self.parts:
            kind += f", {len(self.parts)} parts"
        lines = [
            shown_array("KernelResult", self.matrix),
            f"  kind: {kind}",
            f"  normalized: {'unknown' if divided is None else normalized[divided]}",
            f"  certificate: {certificate_line(about.get('certificate'))}",
            f"  file: {about.get('file') or 'none, kept in memory'}",
        ]
        return "\n".join(lines)


def certificate_line(found: Any) -> str:
    """Say in a few words what was checked against the network's own gradient."""
    if not found:
        return "none"
    if "passes_checked" not in found:
        return " ".join(str(found).split())[:100]
    return (
        f"{found.get('certify')}, {found['passes_checked']} of {found.get('passes')} passes checked, largest "
        f"difference {float(found.get('largest_difference') or 0.0):.1e}"
    )


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


def mirror(matrix: Tensor, block: int = 128) -> None:
    """Copy the upper triangle of a square kernel onto the lower one, in place."""
    n = len(matrix)
    triangle = torch.ones(min(n, block), min(n, block), dtype=torch.bool, device=matrix.device).triu()
    triangle = triangle if matrix.ndim == 2 else triangle[:, :, None, None]
    for start in range(0, n, block):
        rows = slice(start, min(start + block, n))
        here = matrix[rows, rows]
        upper = triangle[: here.shape[0], : here.shape[0]]
        matrix[rows, rows] = torch.where(upper, here, swapped(here))
        if rows.stop < n:  # torch transposes a matrix that is whole in memory block by block, any other line by line
            matrix[rows.stop :, rows] = swapped(matrix[rows, rows.stop :].contiguous()).contiguous()


def swapped(tile: Tensor) -> Tensor:
    """Return an (n, m) or (n, m, C, C) tile with its two sides, samples and classes, exchanged."""
    return tile.transpose(0, 1) if tile.ndim == 2 else tile.permute(1, 0, 3, 2)
