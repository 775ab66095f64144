"""Turn the arguments of a kernel into a job that is ready to run: checked model, samples, source, plan, fingerprint."""

from __future__ import annotations

import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from kernels.capture.capture import Capture
from kernels.capture.certificate import Certifier
from kernels.capture.checked_passes import samples_checked
from kernels.capture.layer_outputs import conjugate_source, embedding_source
from kernels.capture.sources import GradientSource, Source
from kernels.contraction.assembly import TOTAL, cuts
from kernels.contraction.forms import LayerForm
from kernels.contraction.plan import Plan, lay_out
from kernels.contraction.result_files import PART
from kernels.gradients.blocks import Block, OuterBlock, TiedBlock, TokenBlock, VectorBlock
from kernels.inputs.fingerprints import answers, chosen, weights_digest
from kernels.inputs.loan import Loan
from kernels.inputs.options import COTANGENT_OF_KIND, KernelOptions, refuse_meaningless
from kernels.inputs.outputs import Inputs, batch_size
from kernels.inputs.samples import PROBE, Place, Samples
from kernels.inputs.selection import Names, is_within, known, parameter_names
from kernels.machine.precision import Precision, precision_named
from kernels.machine.ranks import world

VERSION = 9  # of the arithmetic: raised whenever a bit of a result may change


@dataclass
class Job:
    """A kernel that is ready to run."""

    source: Source
    rows: Samples
    columns: Samples
    square: bool
    precision: Precision
    device: torch.device
    plan: Plan
    groups: list[str | None]
    fingerprint: dict[str, Any]
    coverage: dict[str, Any]
    options: KernelOptions
    remake: Callable[[tuple[str, ...]], Job]
    """Prepare the same kernel with these parameters on the generic route."""

    @property
    def needs_norms(self) -> bool:
        """Whether the diagonals of both sides are needed besides the matrix."""
        return bool(self.options["normalize"]) and not self.square


@contextmanager
def prepared(model: nn.Module, train: Any, test: Any, options: KernelOptions) -> Iterator[Job]:
    """Check everything, probe the model on a few samples and plan the kernel.

    The model is as it was when the block ends, however it ends.
    """
    precision = precision_named(options["precision"])
    refuse_meaningless(options["kind"], options)
    loan = Loan(model, precision.passes, eval_mode=options["eval_mode"], refuse=precision.refuse_narrowing)
    with loan.lent() as own:
        device = loan.device
        columns = Samples(train, options["labels"], "train")
        rows = columns if test is None else Samples(test, options["test_labels"], "test")

        def make(generic: tuple[str, ...]) -> Job:
            return _job(own, columns, rows, precision, device, options, generic, make)

        with precision.strict_passes():  # settings of the process, which each pass would otherwise read and write
            yield make(())


def _job(
    own: nn.Module,
    columns: Samples,
    rows: Samples,
    precision: Precision,
    device: torch.device,
    options: KernelOptions,
    generic: tuple[str, ...],
    remake: Callable[[tuple[str, ...]], Job],
) -> Job:
    start, square = time.perf_counter(), rows is columns
    probe = columns.first(PROBE, device, precision.passes)
    with precision.strict_passes():
        source, coverage = _source(own, probe, options, not square, generic)
        if isinstance(source, GradientSource) and options["kind"] == "loss_gradient":
            columns.check_labels(source.capture.outputs)
            rows.check_labels(source.capture.outputs)
        labels = None if columns.labels is None else columns.labels[: batch_size(probe)]
        logits, blocks, seconds, held, each = _try_pass(source, probe, labels)
    _warn_softmax(logits)
    cotangents = logits.shape[1] if COTANGENT_OF_KIND.get(options["kind"]) == "class" else 1
    names = parameter_names(own)
    groups = _groups(blocks, options["layerwise"], names)
    plan = lay_out(
        blocks,
        kind=options["kind"],
        precision=precision,
        device=device,
        rows=rows.count,
        columns=None if square else columns.count,
        full=options["kind"] == "entk",
        parts=1 + len({group for group in groups if group is not None}),
        cotangents=cotangents,
        splittable=options["kind"] == "trntk",
        pass_bytes=held,
        cotangent_bytes=each,
        forward_mac=sum(map(_forward_mac, blocks)),
        pass_seconds=seconds * (1 + cotangents) / 2,
        budget=options["memory"],
        forms=_forms(options["forms"], blocks, names),
        block_rows=options["block_rows"],
        batch_size=options["batch_size"],
        ranks=world()[1],
        on_disk=options["out"] is not None,
    )
    plan = replace(plan, certify=options["certify"] if coverage else "off", generic=generic)
    if isinstance(source, GradientSource) and plan.certify != "off":
        plan = replace(plan, certified=_certified(plan, rows, columns, source.capture.parameters))
    print_of = _fingerprint(own, rows, columns, options, _contents(groups, blocks), logits)
    plan = replace(plan, setup_seconds=time.perf_counter() - start)
    return Job(source, rows, columns, square, precision, device, plan, groups, print_of, coverage, options, remake)


def _certified(plan: Plan, rows: Samples, columns: Samples, parameters: Mapping[str, Tensor]) -> tuple[int, int, int]:
    """Count the passes that the certificate will check, all passes, and parameters of each."""
    passes: dict[Place, int] = {}
    for samples, side in ((rows, plan.row_block), (columns, plan.column_block)):
        for block in cuts(samples.count, side):
            for here in samples.runs(block.start, block.stop, plan.batch):
                passes[samples.place(here)] = here.stop - here.start
    numbers = sum(p.numel() for p in parameters.values())
    checked = sum(samples_checked(plan.certify, place, size, numbers)[0] > 0 for place, size in passes.items())
    return checked, len(passes), len(parameters)


def _source(
    model: nn.Module, probe: Inputs, options: KernelOptions, rectangular: bool, generic: tuple[str, ...]
) -> tuple[Source, dict[str, Any]]:
    if options["kind"] == "conjugate":
        return conjugate_source(model, probe, options["output_layer"], options["append_one"], options["output"]), {}
    if options["kind"] == "embedding":
        return embedding_source(model, probe, options["layers"], options["output"]), {}
    capture = Capture(
        model,
        probe,
        layers=options["layers"],
        fallback=[*options["fallback"], *generic],
        output=options["output"],
        certifier=Certifier(options["certify"], replaces=False),
        reserve=options["layerwise"] is False,  # a part of its own would be empty for most models
    )
    split = options["layerwise"] is not False and options["layerwise"] != "module"
    source = GradientSource(
        capture,
        COTANGENT_OF_KIND[options["kind"]],
        split_bias=split,
        predicted=options["kind"] == "loss_gradient" and rectangular and options["test_labels"] is None,
    )
    covered = capture.coverage
    disagreed = dict.fromkeys(generic, "a pass disagreed with the network's own gradient")
    return source, {
        "ruled": list(covered.ruled),
        "fallback": {name: disagreed.get(name, reason) for name, reason in covered.reasons.items()},
        "fallback_route": covered.route,
        "unused": list(covered.unused),
        "frozen": list(covered.frozen),
    }


def _try_pass(source: Source, probe: Inputs, labels: Tensor | None) -> tuple[Tensor, list[Block], float, float, float]:
    """Logits, blocks for one cotangent, and of one sample: seconds, bytes of a pass, bytes that a cotangent keeps."""
    found = source.probe(labels) if isinstance(source, GradientSource) else None
    if found is None:
        start = time.perf_counter()
        logits, blocks = source.blocks(probe, labels, slice(0, 1))
        seconds = time.perf_counter() - start
    else:
        logits, blocks, seconds = found.logits, found.blocks, 2 * found.seconds
    size = len(logits)
    seconds /= size
    inputs, deltas = (sum(pair) / size for pair in zip(*map(_bytes, blocks), strict=True))
    # The graph holds every operation's input and output, and one backward pass as many gradients again.
    return logits, blocks, seconds, 3.0 * (inputs + deltas), deltas


def _bytes(block: Block) -> tuple[float, float]:
    """Bytes of a block's inputs and of its output gradients."""
    if isinstance(block, TiedBlock):
        inputs, deltas = zip(*map(_bytes, block.roles), strict=True)
        return sum(inputs), sum(deltas)
    if isinstance(block, VectorBlock):
        return 0.0, float(block.values.numel() * block.values.element_size())
    size = float(block.delta.numel() * block.delta.element_size())
    if isinstance(block, TokenBlock):
        return 0.0, size
    return float(block.inputs.numel() * block.inputs.element_size()), size


def _forward_mac(block: Block) -> float:
    """Multiply-adds of one sample's forward pass through a block's linear map."""
    if isinstance(block, TiedBlock):
        return sum(map(_forward_mac, block.roles))
    if not isinstance(block, OuterBlock):
        return 0.0
    samples, cotangents = block.delta.shape[:2]
    return block.delta.numel() / samples / cotangents * block.width / block.groups


def _groups(blocks: list[Block], layerwise: bool | str | Mapping[str, Sequence[str]], names: Names) -> list[str | None]:
    """Array to which each block adds, named apart from all others; None where no parts are kept."""
    if layerwise is False:
        return [None] * len(blocks)
    if isinstance(layerwise, Mapping):
        for name in (one for members in layerwise.values() for one in members):
            if not any(_covers(block, name, names) for block in blocks):
                own = {first: names.get(first, (first,)) for block in blocks for first in block.names}
                raise ValueError(
                    f"layerwise= names {name!r}, which is not a parameter or module of this kernel; {known(name, own)}"
                )
        found = [_member(block, layerwise, names) for block in blocks]
    elif layerwise == "module":
        found = [block.names[0].rpartition(".")[0] or block.names[0] for block in blocks]
    else:
        found = [block.names[0] for block in blocks]
    return [None if name is None else f"{PART}{name}" for name in found]


def _member(block: Block, groups: Mapping[str, Sequence[str]], names: Names) -> str | None:
    found = [group for group, members in groups.items() if any(_covers(block, name, names) for name in members)]
    if len(found) > 1:
        raise ValueError(f"{block.names[0]} is in several groups of layerwise=: {', '.join(found)}")
    return found[0] if found else None


def _covers(block: Block, entry: str, names: Names) -> bool:
    """Whether a block's first parameter is called so, or lies in a module that is."""
    return any(is_within(name, entry) for name in names.get(block.names[0], block.names[:1]))


def _forms(forms: str | Mapping[str, str] | None, blocks: list[Block], names: Names) -> dict[str, str]:
    """Translate forced forms to the names that stand for parameters; the empty name is for all."""
    if forms is None or isinstance(forms, str):
        return {} if forms is None else {"": forms}
    found: dict[str, str] = {}
    every = {first: names.get(first, (first,)) for block in blocks for first in block.names}
    for entry, form in forms.items():
        meant = [first for first, own in every.items() if any(entry in (n, n.rpartition(".")[0]) for n in own)]
        if entry and not meant:
            raise ValueError(f"forms= names {entry!r}, which is not a parameter or layer; {known(entry, every)}")
        found |= dict.fromkeys(meant if entry else [""], form)
    return found


def _warn_softmax(logits: Tensor) -> None:
    if logits.shape[1] > 1 and bool((logits >= 0).all()):
        if float((logits.sum(1) - 1).abs().max()) < 1e-4:
            warnings.warn(
                "the model's outputs sum to 1: kernels are defined on logits, not softmax probabilities",
                stacklevel=8,
            )


def _contents(groups: list[str | None], blocks: list[Block]) -> dict[str, list[str]]:
    """List the parameters of each named group: another choice under the same name is another kernel."""
    found: dict[str, list[str]] = {}
    for group, block in zip(groups, blocks, strict=True):
        if group is not None:
            found.setdefault(group.removeprefix(PART), []).extend(block.names)
    return found


def _fingerprint(
    model: nn.Module,
    rows: Samples,
    columns: Samples,
    options: KernelOptions,
    parts: dict[str, list[str]],
    logits: Tensor,
) -> dict[str, Any]:
    """Collect what a result depends on, as short digests, for messages as much as for comparison."""
    settings = {
        key: options[key] for key in ("kind", "normalize", "precision", "output_layer", "append_one", "zero_gradient")
    }
    return {
        "weights": weights_digest(model),
        "train": columns.digest(),
        "test": None if rows is columns else rows.digest(),
        "settings": settings,
        "layers": chosen(options["layers"], model),
        "answers": answers(logits),
        "parts": parts if isinstance(options["layerwise"], Mapping) else sorted(parts),
        "version": VERSION,
    }


def duplicates(job: Job) -> dict[str, int]:
    """Numbers of repeated training samples and of test samples that occur in training."""
    train = Counter(job.columns.hashes)
    found = {"train_duplicates": sum(train.values()) - len(train)}
    if not job.square:
        found["test_in_train"] = sum(one in train for one in job.rows.hashes)
    return found


def array_shapes(job: Job) -> dict[str, tuple[int, ...]]:
    """Shapes of everything that a job stores, by name."""
    plan = job.plan
    blocks = (plan.cotangents, plan.cotangents) if plan.full else ()
    names = [TOTAL, *dict.fromkeys(group for group in job.groups if group is not None)]
    shapes: dict[str, tuple[int, ...]] = {name: (plan.rows, plan.columns, *blocks) for name in names}
    if job.needs_norms:
        for name in names:
            shapes[f"row_norms:{name}"] = (plan.rows, *blocks[:1])
            shapes[f"column_norms:{name}"] = (plan.columns, *blocks[:1])
    return shapes


def revive_plan(stored: dict[str, Any]) -> Plan:
    """Rebuild a plan from a ledger."""
    layers = tuple(LayerForm(**(one | {"names": tuple(one["names"])})) for one in stored["layers"])
    return Plan(**(stored | {"layers": layers, "layer_seconds": (), "generic": tuple(stored.get("generic", ()))}))
