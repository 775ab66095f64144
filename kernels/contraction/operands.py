r"""What is kept of a row block, layer by layer, and how two of them contract to a Gram tile.

Every operand adds its layer's part to a tile: the trace :math:`\sum_r \langle G_{ir}, G_{jr} \rangle` of shape (n, m),
or with ``full`` the blocks :math:`\langle G_{ir}, G_{js} \rangle` of shape (n, m, R, R). :class:`DenseGradients` holds
plain gradients, :class:`~kernels.contraction.factors.Factors` inputs and output gradients, and
:class:`~kernels.contraction.tokens.Tokens` embedding rows.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from kernels.machine.precision import add_product, product

STRIPS = {"cuda": 32}
"""Strips of a symmetric product by device type, else 16, which do 53 % of the square's work; 32 do 52 %."""


LEAST_STRIP = {"cuda": 256}
"""Rows of the product in a strip at least, by device type, else 128."""


class Operand(ABC):
    """One layer's operand for n samples and R cotangents."""

    samples: int
    cotangents: int

    @abstractmethod
    def take(self, rows: slice) -> Any:
        """Return the operand of a contiguous run of samples."""

    @classmethod
    @abstractmethod
    def concatenate(cls, parts: Sequence[Any]) -> Any:
        """Stack operands of consecutive batches."""

    def room(self, samples: int) -> Any | None:
        """Return memory for more samples of these sizes, to be filled; None where sizes vary between samples."""
        return None

    @property
    @abstractmethod
    def nbytes(self) -> int:
        """Bytes held."""

    @property
    def product_rows(self) -> float:
        """Rows per sample of the matrices that :meth:`product` multiplies."""
        return 1.0

    @abstractmethod
    def pair_bytes(self, other: Any, full: bool) -> float:
        """Scratch bytes per pair of samples in :meth:`product`."""

    @abstractmethod
    def product(self, other: Any, full: bool) -> Tensor:
        """Contribution to a tile, (n, m) or (n, m, R, R)."""

    @abstractmethod
    def squared_norms(self, scratch: float) -> Float[Tensor, "n r"]:
        """Squared norm of each cotangent's gradient, (n, R)."""

    def bounded(self, scratch: float, device: torch.device) -> float:
        """Bytes that the intermediates of one product may take."""
        return scratch

    def accumulate(self, other: Any, out: Tensor, full: bool, symmetric: bool, scratch: float) -> None:
        """Add this layer's part to ``out``; with ``symmetric`` only tiles on and above the diagonal."""
        for rows, columns in tiles(self, other, out, full, symmetric, self.bounded(scratch, out.device)):
            out[rows, columns] += self.take(rows).product(other.take(columns), full)


class DenseGradients(Operand):
    """Plain gradients, (n, R, D)."""

    def __init__(self, values: Float[Tensor, "n r d"]) -> None:
        self.values = values
        self.samples, self.cotangents = values.shape[0], values.shape[1]

    def take(self, rows: slice) -> DenseGradients:
        """Return the operand of a contiguous run of samples."""
        return DenseGradients(self.values[rows])

    @classmethod
    def concatenate(cls, parts: Sequence[DenseGradients]) -> DenseGradients:
        """Stack operands of consecutive batches."""
        widths = {part.values.shape[2] for part in parts}
        if len(widths) > 1:
            raise ValueError(
                f"a layer's features have lengths {sorted(widths)} in different batches; pad all batches to one length"
            )
        return cls(torch.cat([part.values for part in parts]))

    def room(self, samples: int) -> DenseGradients:
        """Return memory for more samples of this length."""
        return DenseGradients(self.values.new_empty(samples, *self.values.shape[1:]))

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self.values.numel() * self.values.element_size()

    def pair_bytes(self, other: DenseGradients, full: bool) -> float:
        """Scratch bytes per pair of samples."""
        return 8.0 * (self.cotangents**2 if full else 1)

    def product(self, other: DenseGradients, full: bool) -> Tensor:
        """Contribution to a tile."""
        if not full:
            return product(self.values.flatten(1), other.values.flatten(1))
        blocks = product(self.values.flatten(0, 1), other.values.flatten(0, 1))
        return blocks.unflatten(1, (-1, other.cotangents)).unflatten(0, (-1, self.cotangents)).transpose(1, 2)

    def accumulate(self, other: DenseGradients, out: Tensor, full: bool, symmetric: bool, scratch: float) -> None:
        """Add to ``out`` in place, without a temporary for the trace."""
        if full:
            super().accumulate(other, out, full, symmetric, scratch)
            return
        left, right = self.values.flatten(1), other.values.flatten(1)
        for rows, columns in tiles(self, other, out, full, symmetric, scratch):
            add_product(out[rows, columns], left[rows], right[columns])

    def squared_norms(self, scratch: float) -> Float[Tensor, "n r"]:
        """Squared norm of each cotangent's gradient."""
        return torch.stack([one.to(_wide(one.dtype)).square().sum(1) for one in self.values])


def tiles(
    left: Operand, right: Operand, out: Tensor, full: bool, symmetric: bool, scratch: float
) -> Iterator[tuple[slice, slice]]:
    """Cut the n x m tile ``out`` into pieces whose scratch fits; skip those below the diagonal of a symmetric one."""
    sides = left.samples, right.samples
    yield from pieces(sides, piece_sides(left, right, sides, out.device, full, symmetric, scratch), symmetric)


def piece_sides(
    left: Operand,
    right: Operand,
    sides: tuple[int, int],
    device: torch.device,
    full: bool,
    symmetric: bool,
    scratch: float,
) -> tuple[int, int]:
    """Height and width of the pieces of a tile with these numbers of samples like those of two operands."""
    per_pair = max(left.pair_bytes(right, full), 1e-9)
    pairs = max(1.0, scratch / per_pair)
    height = min(sides[0], max(1, int(pairs**0.5)))
    if symmetric:  # narrower strips repeat little work, but are multiplied slowly
        least = LEAST_STRIP.get(device.type, 128)
        strips = min(STRIPS.get(device.type, 16), max(1, int(sides[0] * left.product_rows // least)))
        strips = min(strips, sides[0])
        height = min(height, -(-sides[0] // strips))
    return height, min(sides[1], max(1, int(pairs / height)))


def pieces(sides: tuple[int, int], each: tuple[int, int], symmetric: bool) -> Iterator[tuple[slice, slice]]:
    """Cut a tile into pieces of at most these sides; skip those below the diagonal of a symmetric one."""
    for start in range(0, sides[0], each[0]):
        for other in range(start if symmetric else 0, sides[1], each[1]):
            yield slice(start, min(start + each[0], sides[0])), slice(other, min(other + each[1], sides[1]))


def tensors_of(operand: Operand) -> Iterator[Tensor]:
    """All tensors of an operand and of those that it consists of."""
    for value in vars(operand).values():
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, Tensor):
                yield one
            elif isinstance(one, Operand):
                yield from tensors_of(one)


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.float32 if dtype in (torch.bfloat16, torch.float16) else dtype
