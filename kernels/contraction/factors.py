r"""Contraction of :math:`G = \sum_t \delta_t a_t^T` without, or just before, forming it.

Three exact forms of :math:`\sum_r \langle G_{ir}, G_{jr} \rangle`:

* ``position``: :math:`\sum_{ts} (\delta_{it} \cdot \delta_{js}) (a_{it} \cdot a_{js})`; with one position the
  outer-product rule :math:`(\delta_i \cdot \delta_j)(a_i \cdot a_j)`;
* ``shift``: the same with the patch Gram of a convolution summed from a shifted pixel Gram;
* ``feature``: columns of G are formed in blocks and multiplied as plain features.

A bias :math:`\beta \sum_t \delta_t` is one more input equal to :math:`\beta`: it adds :math:`\beta^2` to
:math:`a \cdot a'`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from kernels.contraction.columns import Batches, gradient_columns, multiply_columns
from kernels.contraction.extents import Extents
from kernels.contraction.operands import DenseGradients, Operand, tiles
from kernels.contraction.pixel_shift import patch_gram
from kernels.gradients.blocks import ConvBlock, OuterBlock
from kernels.gradients.windows import Windows
from kernels.machine.precision import product
from kernels.machine.scratch import Place, reused

CACHED = 2.0**24
"""Bytes of products over pairs of positions on a CPU, which are read several times: as many as its caches hold."""


class _Laid(NamedTuple):
    """Output gradients (M, g, R, O) and inputs (M, g, I), or images (*extent, n, C) for the shift form."""

    delta: Tensor
    inputs: Tensor


@dataclass
class Factors(Operand):
    """Factors of one layer for n samples, positions packed.

    Attributes
    ----------
    delta : Tensor, shape (M, g, R, O)
        Output gradients of all positions of all samples; M is their number.
    inputs : Tensor, shape (M, g, I), or (n, C, *extent) images with ``windows``
        Inputs.
    extents : Extents
        Positions of each sample.
    bias : float or None
        Factor of the bias covered with the weight, None without one.
    form : str
        ``"position"``, ``"shift"`` or ``"feature"``.
    """

    delta: Float[Tensor, "positions g r o"]
    inputs: Tensor
    extents: Extents
    bias: float | None
    form: str
    windows: Windows | None = None

    @property
    def samples(self) -> int:  # type: ignore[override]
        """Number of samples."""
        return self.extents.count

    @property
    def cotangents(self) -> int:  # type: ignore[override]
        """Number of cotangents."""
        return self.delta.shape[2]

    @classmethod
    def of(cls, block: OuterBlock, form: str, dtype: torch.dtype, *, pack: bool = True) -> Factors:
        """Keep a block's factors, leaving out positions through which nothing flows."""
        groups = block.groups
        delta = block.delta.permute(0, 2, 1, 3).unflatten(3, (groups, -1)).transpose(2, 3)  # (B, T, g, R, O)
        bias = None if block.bias is None else block.bias_scale
        batch, positions = delta.shape[:2]
        if isinstance(block, ConvBlock):
            kept, images = delta.flatten(0, 1).to(dtype).contiguous(), block.inputs.to(dtype)
            return cls(kept, images, Extents(batch, positions), bias, form, block.windows)
        inputs = block.a.unflatten(2, (groups, -1))
        if pack and positions > 1:
            live = _reached(delta.flatten(2))
            if live is not None:
                kept = Extents.of(live.sum(1).tolist())
                return cls(delta[live].to(dtype), inputs[live].to(dtype), kept, bias, form)
        return cls(
            delta.flatten(0, 1).to(dtype).contiguous(),
            inputs.flatten(0, 1).to(dtype).contiguous(),
            Extents(batch, positions),
            bias,
            form,
        )

    def take(self, rows: slice) -> Factors:
        """Return the operand of a contiguous run of samples."""
        start, stop, _ = rows.indices(self.samples)
        span, extents = self.extents.take(start, stop)
        inputs = self.inputs[span] if self.windows is None else self.inputs[start:stop]
        return replace(self, delta=self.delta[span], inputs=inputs, extents=extents)

    @classmethod
    def concatenate(cls, parts: Sequence[Factors]) -> Factors | Batches:
        """Stack operands of consecutive batches; those in the feature form stay apart."""
        first = parts[0]
        if len({part.windows for part in parts}) > 1:
            raise ValueError("images of different sizes in one kernel: resize or pad them to one size")
        if first.form == "feature":
            return Batches(list(parts))
        return replace(
            first,
            delta=torch.cat([part.delta for part in parts]),
            inputs=torch.cat([part.inputs for part in parts]),
            extents=Extents.concatenate([part.extents for part in parts]),
        )

    def room(self, samples: int) -> Factors | None:
        """Return memory for more samples with as many positions."""
        if self.extents.length is None or self.form == "feature":
            return None
        delta = self.delta.new_empty(samples * self.extents.length, *self.delta.shape[1:])
        rows = samples * self.extents.length if self.windows is None else samples
        inputs = self.inputs.new_empty(rows, *self.inputs.shape[1:])
        return replace(self, delta=delta, inputs=inputs, extents=Extents(samples, self.extents.length))

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return sum(x.numel() * x.element_size() for x in (self.delta, self.inputs))

    @property
    def product_rows(self) -> float:
        """Positions per sample."""
        return self.extents.mean

    def pair_bytes(self, other: Factors, full: bool) -> float:
        """Scratch bytes per pair of samples."""
        width = 8.0 if self.delta.dtype == torch.float64 else 4.0
        blocks = self.cotangents**2 if full else 1
        scratch = width * self.extents.mean * other.extents.mean * (1.0 + blocks)
        if self.form == "shift" and self.windows is not None:
            cells = self.inputs.shape[2:].numel() / torch.Size(self.windows.stride).numel()
            scratch += width * 2.0 * cells**2
        return scratch

    def patches(self) -> Float[Tensor, "positions g i"]:
        """Return the inputs per position, unfolding stored images."""
        if self.windows is None:
            return self.inputs
        return self.windows.patches(self.inputs).flatten(0, 1).unflatten(1, (self.delta.shape[1], -1))

    def product(self, other: Factors, full: bool) -> Tensor:
        """Contribution to a tile through pairs of positions."""
        total: Tensor | None = None
        ours, theirs = self._by_position(), other._by_position()
        cotangents = self.cotangents
        for group in range(self.delta.shape[1]):
            if self.form == "shift":
                assert self.windows is not None
                gram = patch_gram(ours.inputs, theirs.inputs, self.windows)
            else:
                gram = product(ours.inputs[:, group], theirs.inputs[:, group])
            if self.bias is not None:
                gram += self.bias**2
            left, right = ours.delta[:, group], theirs.delta[:, group]
            if full:
                pairs = product(left.flatten(0, 1), right.flatten(0, 1))
                pairs = pairs.unflatten(1, (-1, cotangents)).unflatten(0, (-1, cotangents))
                pairs *= gram[:, None, :, None]
            else:
                pairs = product(left.flatten(1), right.flatten(1)).mul_(gram)
            total = pairs if total is None else total.add_(pairs)
        assert total is not None
        total = _sum_positions(total, self.extents, 0)
        total = _sum_positions(total, other.extents, 2 if full else 1)
        return total.transpose(1, 2) if full else total

    def _by_position(self) -> _Laid:
        """Delta and inputs as :meth:`product` multiplies them.

        Where extents are equal, all samples' first position comes first, then all samples' second position, and so on,
        so that sums over positions add long runs of memory.
        """
        length = self.extents.length
        delta = self.delta
        if length is not None and length > 1:
            delta = delta.unflatten(0, (-1, length)).transpose(0, 1).flatten(0, 1)
        if self.form == "shift":
            return _Laid(delta, self.inputs.movedim(1, -1).movedim(0, -2).contiguous())
        inputs = self.patches()
        if length is not None and length > 1:
            inputs = inputs.unflatten(0, (-1, length)).transpose(0, 1).flatten(0, 1)
        return _Laid(delta, inputs)

    def accumulate(self, other: Operand, out: Tensor, full: bool, symmetric: bool, scratch: float) -> None:
        """Add this layer's part to ``out`` in the form chosen for it."""
        if self.form == "feature":
            multiply_columns(self, other, out, full, symmetric, scratch)
        elif isinstance(other, Factors) and self._has_single_positions(other, out) and not full:
            self._accumulate_products(other, out, symmetric, scratch)
        else:
            super().accumulate(other, out, full, symmetric, scratch)

    def _has_single_positions(self, other: Factors, out: Tensor) -> bool:
        one_each = self.form == "position" and self.extents.length == other.extents.length == 1
        return one_each and self.delta.dtype == out.dtype

    def _accumulate_products(self, other: Factors, out: Tensor, symmetric: bool, scratch: float) -> None:
        """Add products of single positions, over which nothing is summed, by way of memory that is used again."""
        ours, theirs = (_Laid(one.delta.flatten(2), one.patches()) for one in (self, other))
        for rows, columns in tiles(self, other, out, False, symmetric, self.bounded(scratch, out.device)):
            place = out[rows, columns]
            gram, pairs = (reused(out, place.numel(), side).view(place.shape) for side in ("inputs", "gradients"))
            for group in range(self.groups):
                torch.mm(ours.inputs[rows, group], theirs.inputs[columns, group].T, out=gram)
                torch.mm(ours.delta[rows, group], theirs.delta[columns, group].T, out=pairs)
                if self.bias is not None:
                    gram += self.bias**2
                place.addcmul_(gram, pairs)

    def bounded(self, scratch: float, device: torch.device) -> float:
        """Bytes that the intermediates of one product may take."""
        return scratch if device.type == "cuda" else min(scratch, CACHED)

    @property
    def like(self) -> Tensor:
        """A tensor of the factors' type and device."""
        return self.delta

    @property
    def groups(self) -> int:
        """Number of channel groups."""
        return self.delta.shape[1]

    @property
    def width(self) -> int:
        """Outputs of a group."""
        return self.delta.shape[3]

    @property
    def longest(self) -> int:
        """Positions of the longest sample."""
        return self.extents.longest

    @property
    def band_count(self) -> int:
        """Inputs come in one band."""
        return 1

    @property
    def band_fan(self) -> int:
        """Inputs per position and group; of a convolution those of a patch."""
        if self.windows is None:
            return self.inputs.shape[2]
        return self.inputs.shape[1] // self.groups * torch.Size(self.windows.kernel).numel()

    def bands(self, place: Place) -> list[Float[Tensor, "n t g j"]]:
        """Pad the inputs to the longest sample."""
        return [self.padded(self.patches())]

    def output_gradients(self, group: int, rows: slice) -> Float[Tensor, "n r t"]:
        """Return those of some outputs of a group, all cotangents of a sample one after another."""
        return self.padded(self.delta[:, group, :, rows].flatten(1)).transpose(1, 2)

    def bias_sums(self) -> Float[Tensor, "n r o"] | None:
        """Return the gradient of the bias; None without one."""
        if self.bias is None:
            return None
        return self.padded(self.delta.transpose(1, 2).flatten(2)).sum(1) * self.bias

    def padded(self, packed: Tensor) -> Tensor:
        """(M, ...) packed positions to (n, longest, ...) with zeros behind."""
        if self.extents.length is not None:
            return packed.unflatten(0, (self.extents.count, self.extents.length))
        return torch.nn.utils.rnn.pad_sequence(list(packed.split(list(self.extents.sizes))), batch_first=True)

    def squared_norms(self, scratch: float) -> Float[Tensor, "n r"]:
        """Squared norm of each cotangent's gradient, by the cheaper of its two exact forms."""
        _, groups, cotangents, width = self.delta.shape
        longest, fan = self.longest, self.band_fan
        chosen = self
        if self.delta.dtype == torch.bfloat16:
            chosen = replace(self, delta=self.delta.float(), inputs=self.inputs.float())
        if longest * (cotangents * width + fan) > cotangents * width * fan:
            return sum(
                (DenseGradients(part).squared_norms(scratch) for part in gradient_columns([chosen], scratch)),
                torch.zeros((), device=self.delta.device, dtype=chosen.delta.dtype),
            )
        per_sample = 8.0 * longest**2 * (1 + cotangents) + 4.0 * longest * fan * groups
        chunk = max(1, int(scratch / per_sample))
        pieces = [chosen.take(slice(i, i + chunk))._pair_norms() for i in range(0, self.samples, chunk)]
        return torch.cat(pieces)

    def _pair_norms(self) -> Float[Tensor, "n r"]:
        delta, inputs = self.padded(self.delta), self.padded(self.patches())
        gram = torch.einsum("ntgi,nsgi->ngts", inputs, inputs)
        if self.bias is not None:
            gram = gram + self.bias**2
        pairs = torch.einsum("ntgro,nsgro->nrgts", delta, delta)
        return (pairs * gram[:, None]).sum((2, 3, 4))


def _reached(delta: Float[Tensor, "b t d"]) -> Bool[Tensor, "b t"] | None:
    """Positions whose gradient is not all zero; None where that is so for all of them."""
    if not (delta[:, :, 0] == 0).any():  # usually one entry of each is enough to tell
        return None
    live = (delta.amax(2) != 0) | (delta.amin(2) != 0)
    return None if live.all() else live


def _sum_positions(values: Tensor, extents: Extents, axis: int) -> Tensor:
    """Sum over the positions of each sample along one axis, see :meth:`Factors._by_position` for their order."""
    if extents.length == 1:
        return values
    if extents.length is not None and extents.length > 0:
        return values.unflatten(axis, (extents.length, -1)).sum(axis)
    sizes = torch.tensor(extents.each(), device=values.device)
    owner = torch.repeat_interleave(torch.arange(extents.count, device=values.device), sizes)
    shape = list(values.shape)
    shape[axis] = extents.count
    return values.new_zeros(shape).index_add_(axis, owner, values)
