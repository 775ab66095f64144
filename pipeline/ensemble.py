"""Train a block of seeds at once: weights carry a leading seed axis, one vectorised pass serves all of them.

Small networks leave a processor idle between kernel launches; twenty of them together do not. Each seed keeps its
own initial weights, batch order and augmentation, and the optimisers act entry by entry, so that seeds never mix.
Results agree with one-by-one training to rounding, not bit by bit: the engine is part of an artefact's address.
Blocks are fixed (seeds 0 to 19, 20 to 39, ...), so that a seed's bytes do not depend on which others were asked for.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from models.classifier_module import ClassifierModule
from models.logits import model_inputs, predicted_class, targets_of
from models.schedules import learning_rate_factor, make_optimizer
from pipeline.arithmetic import arithmetic, network_dtype
from pipeline.artifacts import lock_of, write_json
from pipeline.batch_order import BatchOrder
from pipeline.batches import Batch, EvaluationBatches, TrainingBatches, TrainingData
from pipeline.build import Build, construction
from pipeline.callbacks.history import Row, TrainingDiverged, write_history
from pipeline.cells import with_seed
from pipeline.errors import UserError
from pipeline.evaluation import scores, split_outputs
from pipeline.networks import WEIGHTS, build_network, save_weights
from pipeline.owner_lock import current_owner
from pipeline.progress import say
from pipeline.schema import RunConfig
from pipeline.training import HISTORY, LOGITS, make_module

BLOCK = 20
"""Seeds trained together."""


@dataclasses.dataclass
class Member:
    """One trained seed of a block."""

    module: ClassifierModule
    history: list[Row]


def train_block(build: Build, data: TrainingData) -> dict[str, Any]:
    """Train the block of seeds that holds this run; keep this run and every other one that is still missing.

    Returns
    -------
    dict
        Metrics of this run.
    """
    config = build.config
    first = config.seed - config.seed % BLOCK
    configs = [config if seed == config.seed else with_seed(config, seed) for seed in range(first, first + BLOCK)]
    build.say(f"seeds {first} to {first + BLOCK - 1} together")
    with arithmetic(config.numerics) as device:
        members = train_members(configs, data, device)
        metrics = _write(members[config.seed - first], data, config, build.folder)
        for sibling, member in zip(configs, members, strict=True):
            if sibling is not config:
                _publish(build, sibling, member, data)
    return metrics


def train_members(configs: Sequence[RunConfig], data: TrainingData, device: torch.device) -> list[Member]:
    """Train networks that differ in their seeds only.

    Parameters
    ----------
    configs : sequence of RunConfig
        One for each seed, equal but for ``seeds``.
    data : TrainingData
        Splits in memory.
    device : torch.device
        Where to compute.

    Raises
    ------
    UserError
        If the network or the configuration does not fit this engine, or a seed diverges.
    """
    config = configs[0]
    training, numerics = config.training, config.numerics
    dtype = network_dtype(numerics.precision)
    models = [build_network(one, data) for one in configs]
    refuse_unfit(config, models[0])
    orders = [BatchOrder(data.size("train"), training.batch_size, one.seeds.order, training.shuffle) for one in configs]
    streams = [
        TrainingBatches(data, order, one.seeds.augment, dtype, numerics.memory_format)
        for order, one in zip(orders, configs, strict=True)
    ]
    steps = len(orders[0])
    modules = [make_module(model, data, config, steps) for model in models]
    fixed = {name: parameter.requires_grad for name, parameter in models[0].named_parameters()}
    stacked, _ = stack_module_state(models)
    weights = {name: value.detach().to(device).requires_grad_(fixed[name]) for name, value in stacked.items()}
    skeleton = copy.deepcopy(models[0]).to("meta")

    def forward(member: dict[str, Tensor], inputs: Tensor) -> Tensor:
        return functional_call(skeleton, member, (inputs,))

    together = vmap(forward, in_dims=(0, 0))
    optimizer = make_optimizer(
        weights.values(),
        training.optimizer,
        lr=training.lr,
        momentum=training.momentum,
        weight_decay=training.weight_decay,
    )
    total = training.epochs * steps
    histories: list[list[Row]] = [[] for _ in configs]
    for epoch in range(training.epochs):
        for stream in streams:
            stream.sampler.set_epoch(epoch)
        sums = torch.zeros(3, len(configs), dtype=torch.float64)
        for index, batches in enumerate(zip(*streams, strict=True)):
            step = epoch * steps + index
            rate = training.lr * learning_rate_factor(
                step,
                total,
                schedule=training.schedule,
                warmup=training.warmup,
                milestones=training.milestones,
                gamma=training.gamma,
            )
            optimizer.param_groups[0]["lr"] = rate
            outputs = together(weights, torch.stack([_inputs(batch) for batch in batches]).to(device))
            losses = _losses(modules[0], outputs, batches)
            optimizer.zero_grad(set_to_none=True)
            losses.sum().backward()
            _clip(weights, training.gradient_clip)
            optimizer.step()
            _add(sums, modules[0], outputs.detach(), losses.detach(), batches)
        validation = _validation_scores(modules[0], weights, forward, data, config, device)
        for member, history in enumerate(histories):
            row: Row = {"epoch": epoch + 1, "step": (epoch + 1) * steps, "lr": rate}
            row |= _row(modules[0], sums[:, member], "train") | validation[member]
            if not torch.isfinite(sums[0, member]):
                raise TrainingDiverged(
                    f"Training diverged: seed {configs[member].seed} has loss {row['train_loss']} in epoch {epoch + 1} "
                    f"at learning rate {rate:g}. Lower training.lr or set training.gradient_clip."
                )
            history.append(dict(sorted(row.items())))
    for member, model in enumerate(models):
        model.load_state_dict({name: value[member].detach().cpu() for name, value in weights.items()})
    return [Member(module, history) for module, history in zip(modules, histories, strict=True)]


def refuse_unfit(config: RunConfig, model: nn.Module) -> None:
    """Refuse what a shared pass cannot do.

    Raises
    ------
    UserError
        With the reason and the way out.
    """
    reasons = []
    if config.data.kind == "text":
        reasons.append("texts")
    if next(model.buffers(), None) is not None:
        reasons.append("networks with running statistics (batch normalisation)")
    if any(isinstance(layer, nn.Dropout) and layer.p > 0 for layer in model.modules()):
        reasons.append("dropout")
    if config.model.center_output:
        reasons.append("centred outputs")
    if config.snapshots.record:
        reasons.append("snapshots")
    if config.numerics.precision not in ("32-true", "64-true", "tf32"):
        reasons.append(f"numerics.precision={config.numerics.precision}")
    if config.hardware.devices > 1:
        reasons.append("several devices")
    if reasons:
        raise UserError(
            f"numerics.engine=ensemble does not handle {', '.join(reasons)}; use numerics.engine=lightning."
        )


def _inputs(batch: Batch) -> Tensor:
    inputs = model_inputs(batch)
    assert isinstance(inputs, Tensor)
    return inputs


def _losses(module: ClassifierModule, outputs: Tensor, batches: Sequence[Batch]) -> Tensor:
    """Mean loss of each seed; their sum has each seed's own gradient."""
    pairs = zip(outputs, batches, strict=True)
    return torch.stack([module.loss(own, targets_of(batch).to(own.device)) for own, batch in pairs])


def _clip(weights: dict[str, Tensor], limit: float | None) -> None:
    """Clip each seed's gradient by its own norm, as one-by-one training does."""
    if limit is None:
        return
    gradients = [value.grad for value in weights.values() if value.grad is not None]
    norms = torch.stack([gradient.flatten(1).norm(dim=1) for gradient in gradients]).norm(dim=0)
    factor = (limit / (norms + 1e-6)).clamp(max=1.0)
    for gradient in gradients:
        gradient.mul_(factor.view(-1, *[1] * (gradient.ndim - 1)))


def _add(sums: Tensor, module: ClassifierModule, outputs: Tensor, losses: Tensor, batches: Sequence[Batch]) -> None:
    """Add one step to loss, score and row counts of every seed."""
    for member, batch in enumerate(batches):
        targets = targets_of(batch).to(outputs.device)
        sums[0, member] += float(losses[member]) * len(targets)
        sums[1, member] += _hits(module, outputs[member], targets)
        sums[2, member] += len(targets)


def _hits(module: ClassifierModule, outputs: Tensor, targets: Tensor) -> float:
    if module.is_regression:
        return float(((outputs - targets.reshape(outputs.shape)) ** 2).mean(dim=1).sum())
    return float((predicted_class(outputs) == targets).sum())


def _row(module: ClassifierModule, sums: Tensor, part: str) -> Row:
    loss, score, rows = sums.tolist()
    if module.is_regression:
        return {f"{part}_loss": loss / rows, f"{part}_rmse": (score / rows) ** 0.5}
    return {f"{part}_loss": loss / rows, f"{part}_accuracy": score / rows}


@torch.no_grad()
def _validation_scores(
    module: ClassifierModule,
    weights: dict[str, Tensor],
    forward: Callable[[dict[str, Tensor], Tensor], Tensor],
    data: TrainingData,
    config: RunConfig,
    device: torch.device,
) -> list[Row]:
    count = len(next(iter(weights.values())))
    if "val" not in data.splits or data.size("val") == 0:
        return [{} for _ in range(count)]
    sums = torch.zeros(3, count, dtype=torch.float64)
    dtype = network_dtype(config.numerics.precision)
    for batch in EvaluationBatches(data, "val", dtype, config.numerics.memory_format):
        outputs = vmap(forward, in_dims=(0, None))(weights, _inputs(batch).to(device))
        batches = [batch] * count
        _add(sums, module, outputs, _losses(module, outputs, batches), batches)
    return [_row(module, sums[:, member], "val") for member in range(count)]


def _write(member: Member, data: TrainingData, config: RunConfig, folder: Path) -> dict[str, Any]:
    """Write what the train stage writes, and return its metrics."""
    module, history = member.module, member.history
    arrays = split_outputs(module, data, data.splits, memory_format=config.numerics.memory_format)
    save_file(arrays, folder / LOGITS)
    save_weights(module.model, folder / WEIGHTS)
    write_history(history, folder / HISTORY)
    return {
        **scores(module, arrays),
        "steps": int(history[-1]["step"]),
        "epochs": config.training.epochs,
        "parameters": sum(parameter.numel() for parameter in module.model.parameters()),
    }


def _publish(build: Build, config: RunConfig, member: Member, data: TrainingData) -> None:
    """Finish a sibling's artefact, unless it exists or another process is at it: that one makes the same bytes."""
    overrides = (*(item for item in build.node.overrides if not item.startswith("seed=")), f"seed={config.seed}")
    node = build.graph.resolve("train", config, overrides)
    folder = build.store.folder(node.stage.name, node.slug, node.key)
    if folder.is_dir() or current_owner(lock_of(folder)) is not None:
        return
    with construction(node, build.graph, build.store, inputs=build.inputs) as sibling:
        if sibling is not None:
            write_json(sibling.folder / "metrics.json", _write(member, data, config, sibling.folder))
            say(f"  with it: {node.slug}-{node.key}")
