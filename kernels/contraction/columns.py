r"""The feature form: columns of :math:`G = \sum_t \delta_t a_t^T`, formed a few at a time and multiplied."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product as combinations
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from kernels.contraction.extents import Extents
from kernels.contraction.operands import DenseGradients, Operand, reused


@runtime_checkable
class Factored(Protocol):
    """What the feature form reads of a layer's factors, see :class:`kernels.contraction.factors.Factors`."""

    delta: Tensor
    extents: Extents
    bias: float | None

    @property
    def samples(self) -> int:
        """Number of samples."""
        ...

    @property
    def cotangents(self) -> int:
        """Number of cotangents."""
        ...

    @property
    def band_count(self) -> int:
        """Bands in which the inputs come."""
        ...

    @property
    def band_fan(self) -> int:
        """Inputs per position, group and band."""
        ...

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        ...

    def take(self, rows: slice) -> Any:
        """Return the factors of a contiguous run of samples."""
        ...

    def bands(self) -> list[Tensor]:
        """Return the inputs by band, padded to the longest sample."""
        ...

    def padded(self, packed: Tensor) -> Tensor:
        """Unpack positions to (n, longest, ...), with zeros behind."""
        ...

    def squared_norms(self, scratch: float) -> Tensor:
        """Squared norm of each cotangent's gradient."""
        ...


@dataclass
class Batches(Operand):
    """Factors of consecutive batches. The feature form reads them sample by sample, so they need not be joined."""

    parts: list[Factored]

    @property
    def samples(self) -> int:  # type: ignore[override]
        """Number of samples."""
        return sum(part.samples for part in self.parts)

    @property
    def cotangents(self) -> int:  # type: ignore[override]
        """Number of cotangents."""
        return self.parts[0].cotangents

    def take(self, rows: slice) -> Batches:
        """Return the operand of a contiguous run of samples."""
        start, stop, _ = rows.indices(self.samples)
        taken, first = [], 0
        for part in self.parts:
            inside = slice(max(start - first, 0), min(stop - first, part.samples))
            if inside.start < inside.stop:
                taken.append(part.take(inside))
            first += part.samples
        return Batches(taken)

    @classmethod
    def concatenate(cls, parts: Sequence[Batches]) -> Batches:
        """Stack operands of consecutive batches."""
        return cls([one for part in parts for one in part.parts])

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return sum(part.nbytes for part in self.parts)

    def pair_bytes(self, other: Operand, full: bool) -> float:
        """Scratch bytes per pair of samples; the columns are bounded separately."""
        return 0.0

    def accumulate(self, other: Operand, out: Tensor, full: bool, symmetric: bool, scratch: float) -> None:
        """Add this layer's part to ``out``."""
        multiply_columns(self, other, out, full, symmetric, scratch)

    def product(self, other: Operand, full: bool) -> Tensor:
        """Contribution to a tile."""
        shape = (self.samples, other.samples) + ((self.cotangents,) * 2 if full else ())
        delta = self.parts[0].delta
        out = torch.zeros(shape, dtype=torch.promote_types(delta.dtype, torch.float32), device=delta.device)
        self.accumulate(other, out, full, False, 2.0**27)
        return out

    def squared_norms(self, scratch: float) -> Float[Tensor, "n r"]:
        """Squared norm of each cotangent's gradient."""
        return torch.cat([part.squared_norms(scratch) for part in self.parts])


def multiply_columns(left: Operand, right: Operand, out: Tensor, full: bool, symmetric: bool, scratch: float) -> None:
    """Add a layer's part to ``out``, a few columns of both sides at a time."""
    ours = _parts_of(left)
    if symmetric:
        for made in gradient_columns(ours, scratch / 2):
            DenseGradients(made).accumulate(DenseGradients(made), out, full, True, scratch)
        return
    theirs = _parts_of(right)
    step = min(output_rows(ours, scratch / 2), output_rows(theirs, scratch / 2))
    sides = gradient_columns(ours, scratch, step), gradient_columns(theirs, scratch, step, side="right")
    for made, other in zip(*sides, strict=True):
        DenseGradients(made).accumulate(DenseGradients(other), out, full, False, scratch)


def _parts_of(operand: Operand) -> list[Factored]:
    """Batches of which an operand in the feature form consists."""
    return operand.parts if isinstance(operand, Batches) else [operand]  # type: ignore[list-item]


def gradient_columns(
    parts: Sequence[Factored], scratch: float, step: int | None = None, *, side: str = "left"
) -> Iterator[Float[Tensor, "n r d"]]:
    """Materialize the gradient ``step`` output rows at a time, band by band, (n, R, step * J), then the bias's.

    A batch is unfolded once for all bands of these rows. All yielded blocks of a side share the same memory: use one
    before requesting the next.
    """
    first = parts[0]
    _, groups, cotangents, width = first.delta.shape
    samples, fan, bands = sum(part.samples for part in parts), first.band_fan, first.band_count
    step = min(step or output_rows(parts, scratch), width)
    longest = max(part.extents.longest for part in parts)
    unfolded = first.delta.element_size() * max(1, longest) * fan * groups
    chunk = min(samples, max(1, int(scratch / 2 / max(1, unfolded))))
    whole = [part.bands() for part in parts] if chunk == samples else None
    memory = reused(first.delta, bands * samples * cotangents * step * fan, side).view(bands, -1)
    for group, start in combinations(range(groups), range(0, width, step)):
        rows = slice(start, min(start + step, width))
        shape = (samples, cotangents * (rows.stop - start), fan)
        made = [band[: torch.Size(shape).numel()].view(shape) for band in memory]
        filled = 0
        for index, part in enumerate(parts):
            for i in range(0, part.samples, chunk):
                piece = part.take(slice(i, i + chunk)) if whole is None else part
                inputs = piece.bands() if whole is None else whole[index]
                delta = piece.padded(piece.delta[:, group, :, rows].flatten(1)).transpose(1, 2)
                for band, place in zip(inputs, made, strict=True):
                    torch.bmm(delta, band[:, :, group], out=place[filled : filled + piece.samples])
                filled += piece.samples
        for place in made:
            yield place.view(samples, cotangents, -1)
    if first.bias is not None:
        yield torch.cat([part.padded(part.delta.transpose(1, 2).flatten(2)).sum(1) for part in parts]) * first.bias


def output_rows(parts: Sequence[Factored], scratch: float, samples: int | None = None) -> int:
    """Output rows whose gradients fit: the more, the fewer times a batch is unfolded, and the better products run."""
    first = parts[0]
    samples = samples or sum(part.samples for part in parts)
    per_row = first.delta.element_size() * samples * first.cotangents * first.band_fan * first.band_count
    return max(1, min(first.delta.shape[3], int(scratch / max(1, per_row))))
