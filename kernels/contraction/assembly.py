"""Fill a Gram matrix tile by tile from the operands of two row blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NoReturn

import torch
from torch import Tensor

from kernels.capture.sources import GradientSource, Source
from kernels.contraction.forms import make_operand
from kernels.contraction.gathering import OperandBuffer
from kernels.contraction.operands import Operand, tensors_of
from kernels.contraction.plan import Plan
from kernels.contraction.result import mirror, swapped
from kernels.contraction.tile_store import TileStore
from kernels.gradients.blocks import Block
from kernels.inputs.outputs import Inputs
from kernels.inputs.samples import NotFiniteError, Samples, first_not_finite
from kernels.machine.precision import Precision
from kernels.machine.scratch import give_back, scratch_kept

TOTAL = "matrix"
PIECE = 2**24
"""Numbers of a tile that are copied to main memory at a time."""


class Assembly:
    """The loop over tiles of one kernel.

    Parameters
    ----------
    source : Source
        Gives blocks of a batch.
    rows, columns : Samples
        Samples of either side; the same object for a square kernel.
    plan : Plan
        Forms, tile sizes and chunks.
    precision : Precision
        Arithmetic.
    device : torch.device
        Where operands and tiles are computed.
    groups : sequence of str or None
        Part to which each layer of the plan adds, None where no parts are kept.
    norms : bool
        Whether the diagonals of both sides are needed besides a rectangular kernel.
    """

    def __init__(
        self,
        source: Source,
        rows: Samples,
        columns: Samples,
        plan: Plan,
        precision: Precision,
        device: torch.device,
        groups: Sequence[str | None],
        norms: bool,
    ) -> None:
        self.source, self.rows, self.columns = source, rows, columns
        self.plan, self.precision, self.device = plan, precision, device
        self.groups, self.norms = groups, norms

    @scratch_kept()
    def run(self, store: TileStore, mine: Callable[[int], bool]) -> None:
        """Compute the tiles of the row blocks for which ``mine`` is true and put them into the store."""
        rows = cuts(self.plan.rows, self.plan.row_block)
        columns = cuts(self.plan.columns, self.plan.column_block)
        chunks = self._chunks()
        self.source.resume(store.records)
        for i, ours in enumerate(rows):
            if not mine(i):
                continue
            partners = [j for j in range(i if self.plan.square else 0, len(columns))]
            missing = [j for j in partners if not store.done(f"{i}:{j}")]
            if not missing:
                continue
            held = self.operands(self.rows, ours, chunks[0]) if len(chunks) == 1 else None
            for j in missing:
                one_side = self.plan.square and i == j
                swept = self._swept(ours, chunks) if one_side and self.plan.one_pass else None
                for index, classes in enumerate(chunks):
                    left = held
                    if left is None:
                        left = self.operands(self.rows, ours, classes) if swept is None else next(swept)
                    right = left if one_side else self.operands(self.columns, columns[j], classes)
                    self._tile(store, left, right, ours, columns[j], fresh=index == 0, first=(i, j))
                    del right, left
                store.finish(f"{i}:{j}", self.source.record())
            del held

    def operands(self, samples: Samples, rows: slice, classes: slice | None) -> list[Operand]:
        """Capture a run of samples and keep what each layer's form needs."""
        gathered = self._empty(rows)
        for here, inputs, labels in self._batches(samples, rows):
            self.source.enter(samples.place(here))
            with self.precision.strict_passes():
                logits, blocks = self.source.blocks(inputs, labels, classes)
            _require_finite(logits, "logits", here, samples.name)
            self._keep(blocks, gathered, here, samples.name)
        give_back("kept")
        operands = [layer.joined() for layer in gathered]
        if not self.plan.square:  # no tile holds a gradient's product with itself, so NaN could go unread
            self._require_gradients(operands, rows, samples.name)
        return operands

    def _swept(self, rows: slice, chunks: Sequence[slice | None]) -> Iterator[list[Operand]]:
        """Operands of one chunk of cotangents after another, from forward passes whose graphs are kept."""
        source = self.source
        assert isinstance(source, GradientSource)
        opened = []
        for here, inputs, labels in self._batches(self.rows, rows):
            with self.precision.strict_passes():
                opened.append((here, source.open(inputs, labels)))
            _require_finite(opened[-1][1].logits.detach(), "logits", here, self.rows.name)
        for classes in chunks:
            gathered = self._empty(rows)
            for here, one in opened:
                source.enter(self.rows.place(here))
                with self.precision.strict_passes():
                    blocks = source.pulled(one, classes, last=classes is chunks[-1])
                self._keep(blocks, gathered, here, self.rows.name)
            give_back("kept")
            yield [layer.joined() for layer in gathered]

    def _empty(self, rows: slice) -> list[OperandBuffer]:
        return [OperandBuffer(rows.stop - rows.start) for _ in self.plan.layers]

    def _batches(self, samples: Samples, rows: slice) -> Iterator[tuple[slice, Inputs, Tensor | None]]:
        batches = samples.batches(rows.start, rows.stop, self.plan.batch, self.device, self.precision.passes)
        for here, inputs in batches:
            yield here, inputs, None if samples.labels is None else samples.labels[here]

    def _keep(self, blocks: list[Block], gathered: list[OperandBuffer], here: slice, name: str) -> None:
        """Add one batch's operands, freeing its blocks one by one."""
        if [block.names for block in blocks] != [layer.names for layer in self.plan.layers]:
            raise RuntimeError(
                f"{name} samples {here.start} to {here.stop} use other parameters than the first samples did; pass "
                "fallback=[...] with the layers that are not always used"
            )
        with self.precision.contraction(), torch.no_grad():  # gradients that are kept whole are formed here
            for layer, so_far in zip(self.plan.layers, gathered, strict=True):
                so_far.add(make_operand(blocks.pop(0), layer, self.precision.operands))

    def _tile(
        self,
        store: TileStore,
        left: list[Operand],
        right: list[Operand],
        rows: slice,
        columns: slice,
        *,
        fresh: bool,
        first: tuple[int, int],
    ) -> None:
        plan = self.plan
        shape: tuple[int, ...] = (left[0].samples, right[0].samples)
        if plan.full:
            shape += (plan.cotangents, plan.cotangents)
        with self.precision.contraction(), torch.no_grad():
            sums: dict[str, Tensor] = {}
            place = store.arrays[TOTAL][rows, columns]
            # A further chunk of classes adds to what is there, on any device: the order of a sum decides its last bits.
            continues = store.in_memory and self.groups == [None] * len(self.groups)
            in_place = continues and place.device == self.device
            if in_place:  # zero from the beginning, where nothing was added
                total = place
            elif continues and not fresh:
                total = place.to(self.device)
            else:
                total = torch.zeros(shape, dtype=self.precision.passes, device=self.device)
            for ours, theirs, group in zip(left, right, self.groups, strict=True):
                target = total
                if group is not None:
                    if group not in sums:
                        sums[group] = torch.zeros_like(total)
                    target = sums[group]
                ours.accumulate(theirs, target, plan.full, left is right, plan.scratch)
            for part in sums.values():
                total += part
            if first_not_finite(total) is not None:
                self._refuse_tile((left, rows, self.rows.name), (right, columns, self.columns.name))
            for name, values in {TOTAL: total, **sums}.items():
                if left is right:
                    mirror(values)
                if not in_place:
                    _put(store.arrays[name][rows, columns], values, fresh or continues)
                if plan.square and left is not right:
                    _put(store.arrays[name][columns, rows], swapped(values), fresh or continues)
            store.cover("", rows, columns)
            if plan.square and left is not right:
                store.cover("", columns, rows)
            if self.norms and first[1] == 0:
                self._put_norms(store, "row_norms", left, rows, fresh)
            if self.norms and first[0] == 0:
                self._put_norms(store, "column_norms", right, columns, fresh)

    def _require_gradients(self, operands: list[Operand], rows: slice, name: str) -> None:
        """Refuse NaN and infinity in what is kept; the device is read once for all layers."""
        sums = [value.sum().double() for one in operands for value in tensors_of(one) if value.is_floating_point()]
        if not sums or bool(torch.stack(sums).isfinite().all()):
            return
        for layer, operand in zip(self.plan.layers, operands, strict=True):
            if not _all_finite(operand):
                bad = rows.start + _first_not_finite(operand)
                raise NotFiniteError(f"the gradient of {layer.names[0]} is NaN or infinite for {name} sample {bad}")

    def _refuse_tile(self, *sides: tuple[list[Operand], slice, str]) -> NoReturn:
        """Name the sample and layer that make a tile not finite."""
        for operands, rows, name in sides:
            self._require_gradients(operands, rows, name)
        kind = str(self.precision.passes).removeprefix("torch.")
        wider = "" if kind == "float64" else ", or pass precision='float64'"
        for operands, rows, name in sides:
            for layer, operand in zip(self.plan.layers, operands, strict=True):
                large = first_not_finite(operand.squared_norms(self.plan.scratch))
                if large is not None:
                    raise NotFiniteError(
                        f"the squared gradient of {layer.names[0]} is infinite in {kind} for {name} sample "
                        f"{rows.start + large}: scale the inputs or the model's outputs down{wider}"
                    )
        raise NotFiniteError(f"sums over layers are infinite in {kind}: scale the model's outputs down{wider}")

    def _put_norms(self, store: TileStore, name: str, operands: list[Operand], rows: slice, fresh: bool) -> None:
        found: dict[str, Tensor] = {}
        for operand, group in zip(operands, self.groups, strict=True):
            norms = operand.squared_norms(self.plan.scratch).to(self.precision.passes)
            for key in (TOTAL, group):
                if key is not None:
                    found[key] = found[key] + norms if key in found else norms
        for key, norms in found.items():
            _put(store.arrays[f"{name}:{key}"][rows], norms if self.plan.full else norms.sum(1), fresh)
        store.cover(name, rows)

    def _chunks(self) -> list[slice | None]:
        if self.plan.class_chunks == 1:
            return [None]
        step = -(-self.plan.cotangents // self.plan.class_chunks)
        return [slice(start, start + step) for start in range(0, self.plan.cotangents, step)]


def _put(target: Tensor, values: Tensor, fresh: bool) -> None:
    """Write, or add a further chunk of classes; from a GPU through page-locked memory, the fastest way."""
    step = max(1, PIECE * len(values) // max(1, values.numel()))
    for start in range(0, len(values), step):
        piece = values[start : start + step]
        if piece.is_cuda:
            piece = torch.empty(piece.shape, dtype=piece.dtype, pin_memory=True).copy_(piece)
        if fresh:
            target[start : start + step].copy_(piece)
        else:
            target[start : start + step].add_(piece.to(target.device))


def cuts(count: int, size: int) -> list[slice]:
    """Cut a number of samples into blocks of at most ``size``."""
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]


def _all_finite(operand: Operand) -> bool:
    return all(bool(value.isfinite().all()) for value in tensors_of(operand) if value.is_floating_point())


def _first_not_finite(operand: Operand) -> int:
    """Return the first sample with NaN or infinity, of an operand that has one."""
    low, high = 0, operand.samples
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _all_finite(operand.take(slice(low, middle))) else (low, middle)
    return low


def _require_finite(values: Tensor, what: str, rows: slice, name: str) -> None:
    bad = first_not_finite(values)
    if bad is not None:
        raise NotFiniteError(f"{what} of {name} sample {rows.start + bad} is NaN or infinite")
