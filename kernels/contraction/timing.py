"""Expected time of a plan: its own operations, measured for a moment on this machine and scaled to all samples.

What is measured follows the structure of the cost. Passes cost per sample; a layer costs per sample, to keep or to form
its gradients, and per pair, to multiply them; every entry of the matrix costs to check, mirror and store. Nothing here
decides how a kernel is computed, since a timing may not decide its last bits.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from kernels.capture.sources import GradientSource
from kernels.contraction.columns import ImageColumns, gradient_columns, output_rows
from kernels.contraction.factors import Factors
from kernels.contraction.forms import LayerForm, make_operand
from kernels.contraction.job import Job
from kernels.contraction.operands import DenseGradients, Operand, piece_sides, pieces
from kernels.contraction.plan import LayerSeconds, Plan
from kernels.contraction.result import divide_by_diagonals, mirror
from kernels.contraction.tokens import TiedTokens, Tokens
from kernels.gradients.blocks import Block
from kernels.inputs.samples import first_not_finite
from kernels.machine.precision import Precision
from kernels.machine.rates import wait_for
from kernels.machine.scratch import scratch_kept

TOKENS = 512
"""Samples whose embedding rows are multiplied in a trial at most."""

SAMPLES = 64
"""Samples of a trial pass, and more of them while a pass takes less than :data:`ENOUGH`."""

ENOUGH = 0.02
"""Seconds of a trial pass."""

TURNS = 5
"""Runs of a trial at most, at least two of what takes less than a moment."""

PRODUCTS = 2e9
"""Multiply-adds of a layer's trial product."""


def timed_plan(job: Job) -> Plan:
    """Give the job's plan with what its operations take here, see :attr:`Plan.seconds`."""
    plan = job.plan
    if plan.device != "cpu":  # a few samples do not keep a GPU busy: its plan goes by its rate of products
        return plan
    together = -(-plan.cotangents // plan.class_chunks)
    classes = slice(0, together) if plan.class_chunks > 1 else None
    count, full = min(plan.batch, plan.rows, SAMPLES), min(plan.batch, plan.rows)
    pass_seconds, blocks = _time_pass(job, count, classes)
    while count < full and count * pass_seconds < ENOUGH:  # what a pass costs whatever its size would count too much
        count = min(full, 4 * count)
        pass_seconds, blocks = _time_pass(job, count, classes)
    layers = [_time_layer(block, layer, plan, job.precision) for block, layer in zip(blocks, plan.layers, strict=True)]
    timed = replace(
        plan,
        pass_seconds=pass_seconds,
        layer_seconds=tuple(layers),
        entry_seconds=entry_seconds(job.device, job.precision, bool(job.options["normalize"])),
    )
    if plan.setup_seconds > 0.1 * timed.seconds:  # the first call in a process also imports and builds
        again = job.remake(plan.generic).plan.setup_seconds
        timed = replace(timed, setup_seconds=min(again, plan.setup_seconds))
    return timed


def _time_pass(job: Job, count: int, classes: slice | None) -> tuple[float, list[Block]]:
    """Seconds of one sample's passes, of all chunks of cotangents that share a forward pass, and a batch's blocks."""
    plan, source = job.plan, job.source
    rows, inputs = next(iter(job.rows.batches(0, count, count, job.device, job.precision.passes)))
    count = rows.stop  # batches of unequal shapes are not joined
    labels = None if job.rows.labels is None else job.rows.labels[rows]
    seconds, blocks, first = float("inf"), [], job.rows.place(rows)
    for turn in range(2):  # what a first pass builds is not paid again, and more of it is checked
        source.enter(replace(first, words=f"{first.words}, again", begins=False) if turn else first)
        with job.precision.strict_passes():
            start = _now(job.device)
            if isinstance(source, GradientSource):
                opened = source.open(inputs, labels)
                middle = _now(job.device)
                blocks = source.pulled(opened, classes, last=True)
            else:
                middle = start
                _, blocks = source.blocks(inputs, labels, classes)
            end = _now(job.device)
        chunks = plan.class_chunks if plan.one_pass else 1
        seconds = min(seconds, (middle - start + chunks * (end - middle)) / count)
        if end - start > 1.0:
            break
    return seconds, blocks


def _time_layer(block: Block, layer: LayerForm, plan: Plan, precision: Precision) -> LayerSeconds:
    """Seconds of one layer per sample kept, per sample formed, and per pair; of all chunks of cotangents."""
    chunks = plan.class_chunks
    with precision.contraction(), torch.no_grad(), scratch_kept():
        device = _device_of(block)
        keep = _least(lambda: make_operand(block, layer, precision.operands), device)
        operand = make_operand(block, layer, precision.operands)
        count = operand.samples
        form, pair = 0.0, 0.0
        side = min(plan.row_block, 1024)
        if isinstance(operand, DenseGradients) or layer.form == "feature":
            pair = layer.pair_mac * seconds_per_mac(side, device, precision, plan.square)
        if isinstance(operand, (Factors, ImageColumns)) and layer.form == "feature":
            step = output_rows([operand], plan.scratch / 2, plan.row_block)
            form = _least(lambda: [None for _ in gradient_columns([operand], plan.scratch, step)], device) / count
        elif not isinstance(operand, DenseGradients):
            pair = chunks * _pair_seconds(operand, layer, plan, side, device)
    return LayerSeconds(keep=chunks * keep / count, form=chunks * form, pair=pair)


def _pair_seconds(operand: Operand, layer: LayerForm, plan: Plan, side: int, device: torch.device) -> float:
    """Seconds per pair of an operand that is multiplied as it is kept, in pieces like those of the plan's tiles."""
    sides = (plan.row_block, plan.column_block)
    if isinstance(operand, (Tokens, TiedTokens)):  # these are not cut into pieces
        held = max(operand.samples, int(plan.scratch * operand.samples / max(1, operand.nbytes)))
        return _token_seconds(operand, plan, min(plan.row_block, TOKENS, held), device)
    room = operand.bounded(plan.scratch, device)
    whole = piece_sides(operand, operand, sides, device, plan.full, plan.square, room)
    work = max((layer.pair_mac + layer.pair_traffic) / plan.class_chunks, 1.0) * whole[0] * whole[1]
    shrink = min(1.0, (PRODUCTS / work) ** 0.5)
    height, width = (max(1, int(length * shrink)) for length in whole)
    left, right = _repeated(operand, height), _repeated(operand, width)
    out = torch.zeros(
        height, width, *((operand.cotangents,) * 2 if plan.full else ()), dtype=_sums(operand), device=device
    )

    def multiply() -> None:
        left.accumulate(right, out, plan.full, False, plan.scratch)

    made = sum((i.stop - i.start) * (j.stop - j.start) for i, j in pieces(sides, whole, plan.square))
    needed = sides[0] * (sides[0] + 1) / 2 if plan.square else float(sides[0] * sides[1])
    return _least(multiply, device) / (height * width) * made / needed


def _token_seconds(operand: Operand, plan: Plan, side: int, device: torch.device) -> float:
    """Seconds per pair of an embedding's rows; of enough samples that what any product costs hardly counts."""
    repeated = _repeated(operand, side)
    out = torch.zeros(
        side, side, *((operand.cotangents,) * 2 if plan.full else ()), dtype=_sums(operand), device=device
    )
    seconds = _least(lambda: repeated.accumulate(repeated, out, plan.full, plan.square, plan.scratch), device)
    return seconds / (side * (side + 1) / 2 if plan.square else side * side)


def _repeated(operand: Operand, count: int) -> Operand:
    """As many samples, one after another from the beginning again."""
    found: Operand = type(operand).concatenate([operand] * -(-count // operand.samples))
    return found.take(slice(0, count))


@lru_cache(maxsize=64)
def seconds_per_mac(side: int, device: torch.device, precision: Precision, symmetric: bool) -> float:
    """Seconds per multiply-add of gradients' products, of the triangle alone where that is what is computed."""
    width = max(256, min(16_384, int(4 * PRODUCTS / side**2)))
    gradients = DenseGradients(torch.ones(side, 1, width, device=device, dtype=precision.operands))
    out = torch.zeros(side, side, device=device, dtype=precision.passes)
    with precision.contraction():
        seconds = _least(lambda: gradients.accumulate(gradients, out, False, symmetric, 2.0**27), device)
    return seconds / width / (side * (side + 1) / 2 if symmetric else side**2)


@lru_cache(maxsize=8)
def entry_seconds(device: torch.device, precision: Precision, normalize: bool) -> float:
    """Seconds per entry of the matrix: made zero, checked, mirrored, and divided where a cosine is asked for."""
    side = 3000  # 36 MB: the memory of a large matrix is new to the process, whose first touch costs as much
    ones = torch.ones(side, device=device, dtype=precision.passes)

    def handle() -> None:
        matrix = torch.zeros(side, side, device=device, dtype=precision.passes)
        first_not_finite(matrix)
        mirror(matrix)
        if normalize:
            divide_by_diagonals(matrix, ones, ones, exact_diagonal=True)

    return _least(handle, device) / side**2


def _least(work: Callable[[], Any], device: torch.device) -> float:
    """Seconds of the fastest of a few runs: what else the machine does only adds."""
    least, begun = float("inf"), _now(device)
    for turn in range(TURNS):
        start = _now(device)
        work()
        least = min(least, _now(device) - start)
        if turn and start - begun > ENOUGH or least > 0.2:
            break
    return least


def _now(device: torch.device) -> float:
    wait_for(device)
    return time.perf_counter()


def _sums(operand: Operand) -> torch.dtype:
    tensors = [x for x in _tensors(operand) if x.is_floating_point()]
    return torch.promote_types(tensors[0].dtype, torch.float32)


def _device_of(block: Block) -> torch.device:
    return next(x for x in _tensors(block)).device


def _tensors(holder: Any) -> list[Tensor]:
    """All tensors of an operand or block, those of its parts included."""
    found: list[Tensor] = []
    for value in vars(holder).values():
        for one in value if isinstance(value, (list, tuple)) else [value]:
            if isinstance(one, Tensor):
                found.append(one)
            elif isinstance(one, (Operand, Block)):
                found += _tensors(one)
    return found
