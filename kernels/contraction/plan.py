"""Plan a kernel before it runs: the form of each layer, tiles that fit the memory budget, expected time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from kernels.capture.checked_passes import MODES
from kernels.capture.summary import foretold
from kernels.contraction.class_sweep import sweep_classes
from kernels.contraction.forms import LayerForm, choose_form, forced_form
from kernels.contraction.traffic import traffic_cost_on
from kernels.gradients.blocks import Block, VectorBlock
from kernels.machine.memory import available_memory, parse_memory, show_bytes
from kernels.machine.precision import PRECISIONS, Precision
from kernels.machine.rates import measure_rate


@dataclass(frozen=True)
class LayerSeconds:
    """Measured seconds of a layer: per sample to keep it, per sample to form its gradients later, per pair."""

    keep: float
    form: float
    pair: float


@dataclass(frozen=True)
class Plan:
    """Everything that decides how a kernel is computed, and what it will cost.

    Attributes
    ----------
    kind, precision, device : str
        What is computed, in which arithmetic, where.
    rows, columns : int
        Samples on either side (equal for a square kernel).
    square : bool
        Whether only the upper triangle is computed.
    full : bool
        Whether class blocks are kept apart.
    cotangents : int
        Backward passes per forward pass.
    layers : tuple of LayerForm
        One entry per block.
    row_block, column_block : int
        Samples per tile side.
    class_chunks : int
        Passes into which the cotangents are split.
    batch : int
        Samples per forward pass.
    scratch : int
        Bytes for intermediates of the contraction.
    memory : int
        The budget in bytes that all operands, tiles and passes keep to.
    result_bytes : int
        Size of the result.
    certify : str
        How passes are checked against the network's own gradient.
    certified : tuple of int
        Passes that will be checked, all passes, and parameters that are compared in each.
    generic : tuple of str
        Parameters that take the generic route because a pass disagreed with the network's own gradient.
    pass_seconds, mac_rate : float
        Seconds of one sample's forward and backward passes, multiply-adds per second of a matrix product. Measured.
    setup_seconds, entry_seconds, layer_seconds
        Seconds that planning took, that an entry of the matrix takes, and a layer; measured for
        :func:`kernels.plan_kernel` alone, see :mod:`kernels.contraction.timing`.

    Examples
    --------
    >>> import torch
    >>> from kernels import plan_kernel
    >>> plan = plan_kernel(torch.nn.Linear(2, 3), torch.eye(2))
    >>> plan.rows, plan.square, plan.cotangents, plan.pairs
    (2, True, 3, 3.0)
    """

    kind: str
    precision: str
    device: str
    rows: int
    columns: int
    square: bool
    full: bool
    cotangents: int
    layers: tuple[LayerForm, ...]
    row_block: int
    column_block: int
    class_chunks: int
    batch: int
    scratch: int
    memory: int
    result_bytes: int
    pass_seconds: float = field(compare=False)
    mac_rate: float = field(compare=False)
    certify: str = "off"
    certified: tuple[int, int, int] = field(default=(0, 0, 0), compare=False)
    generic: tuple[str, ...] = ()
    setup_seconds: float = field(default=0.0, compare=False)
    entry_seconds: float = field(default=0.0, compare=False)
    layer_seconds: tuple[LayerSeconds, ...] = field(default=(), compare=False)

    @property
    def pairs(self) -> float:
        """Pairs of samples that are computed."""
        return self.rows * (self.rows + 1) / 2 if self.square else float(self.rows) * self.columns

    @property
    def one_pass(self) -> bool:
        """Whether the classes of a square kernel come from one forward pass, whose graph is kept between chunks."""
        return self.square and self.class_chunks > 1 and self.batch >= self.rows

    @property
    def flops(self) -> float:
        """Floating-point operations of the contraction, two per multiply-add."""
        formed = self.rows if self.square else self.rows + self.columns
        return 2.0 * sum(one.pair_mac * self.pairs + one.sample_mac * formed for one in self.layers)

    @property
    def passes(self) -> float:
        """Samples sent through the model, repeats included."""
        if self.square:
            blocks = -(-self.rows // self.row_block)
            if self.one_pass:
                return float(self.rows)
            return self.rows * (blocks + 1) / 2 * (1 if blocks > 1 else self.class_chunks)
        blocks = -(-self.rows // self.row_block)
        return self.rows * self.class_chunks + float(self.columns) * blocks * self.class_chunks

    @property
    def seconds(self) -> float:
        """Expected wall time: planning, passes, layers and entries, at the rates that were measured here."""
        entries = float(self.rows) * self.columns * (self.cotangents**2 if self.full else 1)
        rest = self.setup_seconds + entries * self.entry_seconds
        return rest + self.passes * self.pass_seconds + sum(self.seconds_of(i) for i in range(len(self.layers)))

    def seconds_of(self, index: int) -> float:
        """Give the expected time of one layer, whose gradients are formed again for every tile."""
        down, across = -(-self.rows // self.row_block), -(-self.columns // self.column_block)
        formed = self.rows * down if self.square else self.rows * across + self.columns * down
        if not self.layer_seconds:
            return self.layers[index].cost(self.pairs, formed) / self.mac_rate
        one = self.layer_seconds[index]
        return one.keep * self.passes + one.form * formed + one.pair * self.pairs

    def __str__(self) -> str:
        """Table of layers with form, work, storage and time, then the summary."""
        formed = self.rows if self.square else self.rows + self.columns
        lines = [f"{'layer':44} {'form':9} {'kept':8} {'GFLOP':>10} {'KiB/sample':>11} {'seconds':>8}"]
        for index, one in enumerate(self.layers):
            mac = one.pair_mac * self.pairs + one.sample_mac * formed
            name = one.names[0] if len(one.names) == 1 else f"{one.names[0]} (+{len(one.names) - 1})"
            lines.append(
                f"{name[:44]:44} {one.form:9} {one.kept:8} {2e-9 * mac:10.3g} {one.sample_bytes / 1024:11.1f} "
                f"{self.seconds_of(index):8.3g}"
            )
        return "\n".join([*lines, self.summary])

    @property
    def summary(self) -> str:
        """Three lines: size and time, tiles and memory, what is certified."""
        size = f"{self.rows} x {self.rows if self.square else self.columns}"
        lines = [
            f"{self.kind} {size} in {self.precision} on {self.device}: {2 * self.pairs:.3g} entries, "
            f"{self.flops:.3g} FLOP, {self.passes:.0f} sample passes, about {self.seconds:.3g} s",
            f"tiles {self.row_block} x {self.column_block}, batch {self.batch}, class chunks {self.class_chunks}; "
            f"result {show_bytes(self.result_bytes)}, memory budget {show_bytes(self.memory)}",
            f"certificate: {MODES[self.certify]}{foretold(*self.certified)}",
        ]
        return "\n".join(lines)


def lay_out(
    blocks: list[Block],
    *,
    kind: str,
    precision: Precision,
    device: torch.device,
    rows: int,
    columns: int | None,
    full: bool,
    parts: int,
    cotangents: int,
    splittable: bool,
    pass_bytes: float,
    cotangent_bytes: float,
    forward_mac: float,
    pass_seconds: float,
    budget: str | int | float | None,
    forms: dict[str, str],
    block_rows: int | None,
    batch_size: int | None,
    ranks: int,
    on_disk: bool,
) -> Plan:
    """Choose forms and tile sizes.

    Parameters
    ----------
    blocks : list of blocks
        Of the probe samples, for one cotangent.
    parts : int
        Matrices stored (1 + layers for a layerwise kernel).
    splittable : bool
        Whether the trace may be summed over chunks of cotangents.
    pass_bytes, cotangent_bytes, pass_seconds : float
        Memory of one sample's passes, what each cotangent adds to it, and time.
    budget : str, int, float or None
        Of memory, see :func:`kernels.machine.memory.parse_memory`.
    forms : dict
        Forced form by parameter name; the empty name applies to all that have it.
    block_rows, batch_size : int or None
        Tile side and samples per forward pass, where the caller fixes them.
    ranks : int
        Processes that share the tiles.
    on_disk : bool
        Whether the result lives in a file rather than in memory.

    Raises
    ------
    MemoryError
        When nothing fits the budget, naming the option that would.
    """
    memory = parse_memory(budget, device, free := available_memory())
    square = columns is None
    on_card = device.type == "cuda"
    width = torch.finfo(precision.operands).bits // 8
    result_width = torch.finfo(precision.passes).bits // 8
    others = rows if columns is None else columns
    pairs = rows * (rows + 1) / 2 if square else float(rows) * others

    def layers_for(together: int) -> tuple[LayerForm, ...]:
        common: dict[str, Any] = {"full": full, "samples": rows + others * (not square), "pairs": pairs, "width": width}
        common["traffic_cost"] = traffic_cost_on(device, precision)
        return tuple(
            choose_form(block, cotangents=together, forced=forced_form(block, forms), **common) for block in blocks
        )

    layers = layers_for(cotangents)
    entry = result_width * parts * (cotangents**2 if full else 1)
    result = int(entry * rows * others)
    if not on_disk and result > 0.9 * free:
        raise MemoryError(
            f"the result needs {show_bytes(result)} and {show_bytes(free)} of main memory are free: pass "
            "out='gram.safetensors' to keep it on disk" + (", or layerwise=False" if parts > 1 else "")
        )
    stored = sum(one.sample_bytes for one in layers)
    scratch = int(min(memory / 4, 2**33 if on_card else 2**29))
    # On a GPU, repeating passes for every pair of row blocks costs less than products for every chunk of classes.
    splittable = splittable and not on_card
    if on_card:  # a few samples do not show the speed of its passes: take half the rate of products
        strict = PRECISIONS["float64" if precision.passes == torch.float64 else "float32"]
        pass_seconds = 2 * forward_mac * (1 + cotangents) / measure_rate(device, strict)
    longest = max(rows, others)
    chunks, side, batch, held = 1, 0, 1, 0.0
    swept: tuple[LayerForm, ...] = ()
    generic = any(isinstance(one, VectorBlock) and one.origin == "fallback" for one in blocks)  # passes of its own
    if splittable and square and batch_size is None and block_rows is None and ranks == 1 and not generic:
        held = rows * (pass_bytes + cotangent_bytes)
        chunks, swept = sweep_classes(
            layers_for, cotangents=cotangents, pairs=pairs, samples=rows, forward_mac=forward_mac
        )
        if held + rows * sum(one.sample_bytes for one in swept) > memory / 2:
            chunks = 1
    if chunks > 1:
        layers, side, batch = swept, rows, rows
    else:
        for chunks in range(1, (cotangents if splittable else 1) + 1):
            together = -(-cotangents // chunks)
            batch, held = _passes(pass_bytes + together * cotangent_bytes, memory, device, batch_size, longest)
            needed = (rows if square else rows + others) * stored * together / cotangents + entry * rows * others
            if needed <= memory - scratch - held:
                side = longest
                break
    if not side:  # not even one cotangent at a time: row blocks, computed again for every partner
        chunks = 1
        batch, held = _passes(pass_bytes + cotangents * cotangent_bytes, memory, device, batch_size, longest)
        side = min(_tile_side(memory - scratch - held, entry, stored), longest)
    if block_rows is not None:
        chunks, side = (chunks if block_rows >= max(rows, others) else 1), block_rows
    elif ranks > 1:
        side = min(side, max(1, -(-max(rows, 1) // (2 * ranks))))
        chunks = chunks if side >= max(rows, others) else 1
    if side < 1:
        need = stored * (1 if square else 2) + held + entry
        raise MemoryError(
            f"not even one sample fits: it needs about {show_bytes(need * 4 / 3)} and the budget is "
            f"{show_bytes(memory)}; pass a larger memory=, or fewer layers=, or kind='pntk', or a sketch"
        )
    if batch_size is None:  # a smaller last pass would be a pattern of its own to certify
        count = min(side, longest)
        batch = -(-count // -(-count // batch))
    if not on_card:
        kept = sum(one.sample_bytes for one in layers)
        if chunks > 1 and layers is not swept:
            kept *= -(-cotangents // chunks) / cotangents
        tile = kept * (side if square and side >= longest else 2 * side) + entry * side**2 * (side < longest)
        _refuse_larger_than_free(held + scratch + tile + result * (not on_disk), memory, free)
    return Plan(
        kind=kind,
        precision=precision.name,
        device=str(device),
        rows=rows,
        columns=others,
        square=square,
        full=full,
        cotangents=cotangents,
        layers=layers,
        row_block=min(side, rows),
        column_block=min(side, others),
        class_chunks=chunks,
        batch=batch,
        scratch=scratch,
        memory=memory,
        result_bytes=result,
        pass_seconds=pass_seconds,
        mac_rate=measure_rate(device, precision),
    )


def _refuse_larger_than_free(needed: float, memory: int, free: int) -> None:
    """Hold a plan against free main memory: a budget may be larger than a container or job leaves."""
    if needed > free:
        raise MemoryError(
            f"the plan takes about {show_bytes(needed)} within its budget of {show_bytes(memory)}, and "
            f"{show_bytes(free)} of main memory are free: pass a smaller memory= (kernel.memory of a run)"
        )


def _passes(
    sample_bytes: float, memory: int, device: torch.device, fixed: int | None, longest: int
) -> tuple[int, float]:
    """Choose samples per pass, and give its bytes: efficient, yet small compared with what is kept."""
    enough, floor = (2**33, 64) if device.type == "cuda" else (2**28, 32)
    sample_bytes = max(sample_bytes, 1.0)
    batch = fixed or int(max(1, min(1024, memory / 4 / sample_bytes, max(floor, enough / sample_bytes))))
    batch = min(batch, longest)
    return batch, batch * sample_bytes


def _tile_side(room: float, entry: float, stored: float) -> int:
    """Side s of the largest tile with ``entry * s^2 + 2 * stored * s`` bytes in ``room``."""
    return int(((stored**2 + entry * max(room, 0.0)) ** 0.5 - stored) / entry)
