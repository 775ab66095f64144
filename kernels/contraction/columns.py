r"""The feature form: columns of :math:`G = \sum_t \delta_t a_t^T`, formed a few at a time and multiplied."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product as combinations
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from kernels.contraction.operands import DenseGradients, Operand
from kernels.gradients.blocks import ConvBlock
from kernels.gradients.windows import Windows
from kernels.machine.scratch import Place, places_of, reused


@runtime_checkable
class Factored(Protocol):
    """What the feature form reads of a layer's factors."""

    @property
    def like(self) -> Tensor:
        """A tensor of the factors' type and device."""
        ...

    @property
    def samples(self) -> int:
        """Number of samples."""
        ...

    @property
    def groups(self) -> int:
        """Number of channel groups."""
        ...

    @property
    def cotangents(self) -> int:
        """Number of cotangents."""
        ...

    @property
    def width(self) -> int:
        """Outputs of a group."""
        ...

    @property
    def longest(self) -> int:
        """Positions of the longest sample."""
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

    def bands(self, place: Place) -> list[Tensor]:
        """Return the inputs by band, (n, longest, g, J), with zeros behind shorter samples."""
        ...

    def output_gradients(self, group: int, rows: slice) -> Tensor:
        """Return those of some outputs of a group, (n, R * rows, longest), with zeros behind shorter samples."""
        ...

    def bias_sums(self) -> Tensor | None:
        """Return the gradient of the bias, (n, R, g * O); None without one."""
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
        like = self.parts[0].like
        out = torch.zeros(shape, dtype=torch.promote_types(like.dtype, torch.float32), device=like.device)
        self.accumulate(other, out, full, False, 2.0**27)
        return out

    def squared_norms(self, scratch: float) -> Float[Tensor, "n r"]:
        """Squared norm of each cotangent's gradient."""
        return torch.cat([part.squared_norms(scratch) for part in self.parts])


@dataclass
class ImageColumns(Operand):
    """A convolution's factors for the feature form, as the passes leave them: positions stay behind channels.

    Attributes
    ----------
    delta : Tensor, shape (n, R, g, O, T)
        Output gradients.
    images : Tensor, shape (n, C, *extent)
        Inputs, without the zeros around them.
    windows : Windows
        Which pixels each output position reads.
    bias : float or None
        Factor of the bias covered with the weight, None without one.
    """

    delta: Float[Tensor, "n r g o t"]
    images: Tensor
    windows: Windows
    bias: float | None

    @classmethod
    def of(cls, block: ConvBlock, dtype: torch.dtype) -> ImageColumns:
        """Keep a block's factors; nothing is copied that has the right type."""
        delta = block.delta.transpose(2, 3).unflatten(2, (block.groups, -1)).to(dtype)
        bias = None if block.bias is None else block.bias_scale
        return cls(delta, block.inputs.to(dtype), block.windows, bias)

    @property
    def like(self) -> Tensor:
        """A tensor of the factors' type and device."""
        return self.images

    @property
    def samples(self) -> int:  # type: ignore[override]
        """Number of samples."""
        return self.delta.shape[0]

    @property
    def groups(self) -> int:
        """Number of channel groups."""
        return self.delta.shape[2]

    @property
    def cotangents(self) -> int:  # type: ignore[override]
        """Number of cotangents."""
        return self.delta.shape[1]

    @property
    def width(self) -> int:
        """Outputs of a group."""
        return self.delta.shape[3]

    @property
    def longest(self) -> int:
        """Positions of every sample."""
        return self.delta.shape[4]

    @property
    def band_count(self) -> int:
        """Bands in which the inputs come."""
        return self.windows.kernel[0]

    @property
    def band_fan(self) -> int:
        """Inputs per position, group and band."""
        return self.images.shape[1] // self.groups * torch.Size(self.windows.kernel[1:]).numel()

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return sum(x.numel() * x.element_size() for x in (self.delta, self.images))

    def take(self, rows: slice) -> ImageColumns:
        """Return the operand of a contiguous run of samples."""
        return replace(self, delta=self.delta[rows], images=self.images[rows])

    @classmethod
    def concatenate(cls, parts: Sequence[ImageColumns]) -> Batches:
        """Stack operands of consecutive batches, which stay apart."""
        if len({part.windows for part in parts}) > 1:
            raise ValueError("images of different sizes in one kernel: resize or pad them to one size")
        return Batches(list(parts))

    def bands(self, place: Place) -> list[Float[Tensor, "n t g j"]]:
        """Return the patches in bands along their first axis."""
        return [band.unflatten(2, (self.groups, -1)) for band in self.windows.bands(self.images, place)]

    def output_gradients(self, group: int, rows: slice) -> Float[Tensor, "n r t"]:
        """Return those of some outputs of a group, all cotangents of a sample one after another."""
        return self.delta[:, :, group, rows].flatten(1, 2)

    def bias_sums(self) -> Float[Tensor, "n r o"] | None:
        """Return the gradient of the bias; None without one."""
        return None if self.bias is None else self.delta.flatten(2, 3).sum(3) * self.bias

    def pair_bytes(self, other: Operand, full: bool) -> float:
        """Scratch bytes per pair of samples; the columns are bounded separately."""
        return 0.0

    def accumulate(self, other: Operand, out: Tensor, full: bool, symmetric: bool, scratch: float) -> None:
        """Add this layer's part to ``out``."""
        multiply_columns(self, other, out, full, symmetric, scratch)

    def product(self, other: Operand, full: bool) -> Tensor:
        """Contribution to a tile."""
        return Batches([self]).product(other, full)

    def squared_norms(self, scratch: float) -> Float[Tensor, "n r"]:
        """Squared norm of each cotangent's gradient."""
        wide = self
        if self.like.dtype == torch.bfloat16:
            wide = replace(self, delta=self.delta.float(), images=self.images.float())
        return sum(
            (DenseGradients(part).squared_norms(scratch) for part in gradient_columns([wide], scratch)),
            wide.like.new_zeros(()),
        )


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
    groups, cotangents, width = first.groups, first.cotangents, first.width
    samples, fan, bands = sum(part.samples for part in parts), first.band_fan, first.band_count
    step = min(step or output_rows(parts, scratch), width)
    longest = max(part.longest for part in parts)
    unfolded = first.like.element_size() * max(1, longest) * fan * groups
    chunk = min(samples, max(1, int(scratch / 2 / max(1, unfolded))))
    place_of = places_of(first.like, side)
    whole = [part.bands(place_of) for part in parts] if chunk == samples else None
    # What is unfolded whole is multiplied band by band, in the memory of one; else all bands of a piece at once.
    turns = [[band] for band in range(bands)] if whole is not None else [list(range(bands))]
    memory = reused(first.like, len(turns[0]) * samples * cotangents * step * fan, side).view(len(turns[0]), -1)
    for group, start in combinations(range(groups), range(0, width, step)):
        rows = slice(start, min(start + step, width))
        shape = (samples, cotangents * (rows.stop - start), fan)
        made = [band[: torch.Size(shape).numel()].view(shape) for band in memory]
        for turn in turns:
            filled = 0
            for index, part in enumerate(parts):
                for i in range(0, part.samples, chunk):
                    piece = part.take(slice(i, i + chunk)) if whole is None else part
                    inputs = piece.bands(places_of(first.like, side)) if whole is None else whole[index]
                    delta = piece.output_gradients(group, rows)
                    for band, place in zip(turn, made, strict=True):
                        torch.bmm(delta, inputs[band][:, :, group], out=place[filled : filled + piece.samples])
                    filled += piece.samples
            for place in made:
                yield place.view(samples, cotangents, -1)
    sums = [found for part in parts if (found := part.bias_sums()) is not None]
    if sums:
        yield torch.cat(sums)


def output_rows(parts: Sequence[Factored], scratch: float, samples: int | None = None) -> int:
    """Output rows whose gradients fit: the more, the fewer times a batch is unfolded, and the better products run."""
    first = parts[0]
    samples = samples or sum(part.samples for part in parts)
    per_row = first.like.element_size() * samples * first.cotangents * first.band_fan * first.band_count
    return max(1, min(first.width, int(scratch / max(1, per_row))))
