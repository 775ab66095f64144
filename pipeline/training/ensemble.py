"""Train many seeds of a small network at once: one vectorized pass serves a whole block of them.

A small network leaves a processor waiting between small operations; twenty of them together do not. Each member has
its own initial weights, batch order and augmentation, drawn from the same named streams as one-by-one training.
Weights agree with one-by-one training to rounding, not bit by bit, so the engine is part of an artifact's address.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from kernels.machine.tensor_files import save_tensors
from models.classifier_module import ClassifierModule
from models.configs import MODEL_SCHEMAS
from models.logits import INITIAL_OUTPUTS, Batch, model_inputs, predicted_class, targets_of
from models.optimizers.schedules import learning_rate_factor, make_optimizer
from models.stacked import StackedNetworks
from pipeline.config.run import RunConfig
from pipeline.data.batch_order import BatchOrder
from pipeline.data.batches import EvaluationBatches, TrainingBatches, TrainingData, cast
from pipeline.engine.artifacts import Artifact
from pipeline.errors import UserError
from pipeline.machine.arithmetic import arithmetic, network_dtype
from pipeline.machine.sealed_files import replace_sealed
from pipeline.training.fit import make_module
from pipeline.training.history import EpochRow, HistoryNote
from pipeline.training.initial_outputs import initial_outputs
from pipeline.training.networks import starting_network
from pipeline.training.resume import drop_if_damaged
from pipeline.training.single_rows import refuse_single_rows

CHECKPOINT = "epoch.safetensors"


@dataclass
class Member:
    """One trained run of a block.

    Attributes
    ----------
    config : RunConfig
        With the member's own seeds.
    module : ClassifierModule
        The trained network.
    history : list of dict
        One row per epoch, as in one-by-one training; it ends with the first epoch whose loss is not finite.
    """

    config: RunConfig
    module: ClassifierModule
    history: list[EpochRow]

    @property
    def diverged(self) -> bool:
        """Whether the training loss stopped being finite."""
        return not math.isfinite(self.history[-1]["train_loss"])


def train_block(
    configs: Sequence[RunConfig],
    data: TrainingData,
    scratch: Path,
    *,
    pretrained: Artifact | None = None,
    on_epoch: Callable[[int, float], None] | None = None,
) -> list[Member]:
    """Train runs that differ in their seeds only.

    Parameters
    ----------
    configs : sequence of RunConfig
        One per member, equal but for ``seed`` and ``seeds``.
    data : TrainingData
        Splits in memory.
    scratch : Path
        Survives a kill; it holds a checkpoint after each epoch.
    pretrained : Artifact, optional
        Weights that every member starts from, except its output layer.
    on_epoch : callable, optional
        Called with (epoch, mean training loss of the members).

    Returns
    -------
    list of Member
        In the order of ``configs``. A member that diverged is among them and leaves the others as they are.

    Raises
    ------
    UserError
        If the engine cannot train such a network.
    """
    config = configs[0]
    refuse_unstackable(config)
    training = config.training
    with arithmetic(config.numerics) as device:
        networks = [starting_network(one, data, pretrained) for one in configs]
        refuse_single_rows(networks[0], data, training.batch_size)
        steps = len(BatchOrder(data.size("train"), training.batch_size, config.streams.order, training.shuffle))
        try:
            stack = StackedNetworks(networks, device, config.model.center_output)
        except ValueError as error:
            raise UserError(f"numerics.engine=ensemble cannot train this: {error}; use lightning.") from error
        members = [
            Member(one, make_module(network, data, one, steps).to(device), [])
            for one, network in zip(configs, networks, strict=True)
        ]
        initial = [initial_outputs(member.module, data, network_dtype(config.numerics.precision)) for member in members]
        batches = BlockBatches(configs, data, [outputs["train"] for outputs in initial if "train" in outputs])
        optimizer = make_optimizer(
            stack.weights.values(),
            training.optimizer,
            lr=training.lr,
            momentum=training.momentum,
            weight_decay=training.weight_decay,
        )
        checkpoint = scratch / CHECKPOINT
        notes = [HistoryNote(scratch / f"history-{one.seed}.csv") for one in configs]
        for epoch in range(_resume(checkpoint, stack, optimizer, members), training.epochs):
            rows = _train_epoch(epoch, stack, optimizer, batches, members[0].module, config, device)
            for index, (member, row, start) in enumerate(zip(members, rows, initial, strict=True)):
                member.module.model.load_state_dict(stack.state_of(index))
                if not member.history or not member.diverged:
                    scores = {**row, **_validation_scores(member.module, data, config, device, start.get("val"))}
                    member.history.append({**_position(epoch, len(batches), config), **dict(sorted(scores.items()))})
            _save(checkpoint, epoch, stack, optimizer, members)
            for note, member in zip(notes, members, strict=True):
                note.note(member.history, epoch + 1 == training.epochs)
            if on_epoch is not None:
                on_epoch(epoch + 1, sum(row["train_loss"] for row in rows) / len(rows))
        for index, member in enumerate(members):
            member.module.model.load_state_dict(stack.state_of(index))
        return members


def refuse_unstackable(config: RunConfig) -> None:
    """Refuse what a vectorized pass over members cannot do.

    Raises
    ------
    UserError
        With the reasons, and what to do instead.
    """
    numerics, reasons = config.numerics, []
    if not config.model.stackable:
        stackable = [name for name, schema in MODEL_SCHEMAS.items() if schema.stackable]
        reasons.append(f"model={config.model.name} (it trains {', '.join(stackable)})")
    if numerics.precision not in ("32-true", "64-true", "tf32"):
        reasons.append(f"numerics.precision={numerics.precision}")
    if numerics.memory_format != "contiguous":
        reasons.append(f"numerics.memory_format={numerics.memory_format}")
    if numerics.world_size > 1:
        reasons.append(f"numerics.world_size={numerics.world_size}")
    if reasons:
        raise UserError(f"numerics.engine=ensemble cannot train {', '.join(reasons)}; use numerics.engine=lightning.")


class BlockBatches:
    """Batches of all members of a block, stacked: entry m is the batch that member m sees when it trains alone.

    Parameters
    ----------
    configs : sequence of RunConfig
        One per member.
    data : TrainingData
        Source of rows.
    initial : sequence of Tensor of shape (n, c)
        Outputs at initialization over the training rows, one of each member, or none.
    """

    def __init__(self, configs: Sequence[RunConfig], data: TrainingData, initial: Sequence[Tensor] = ()) -> None:
        training, numerics = configs[0].training, configs[0].numerics
        self._data = data
        self._dtype = network_dtype(numerics.precision)
        self._orders = [
            BatchOrder(data.size("train"), training.batch_size, one.streams.order, training.shuffle) for one in configs
        ]
        self._initial = list(initial)
        self._streams = [
            TrainingBatches(data, order, one.streams.augment, self._dtype, numerics.memory_format)
            for order, one in zip(self._orders, configs, strict=True)
        ]

    def __len__(self) -> int:
        """Batches in an epoch."""
        return len(self._orders[0])

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """Iterate over the stacked batches of an epoch, each entry of shape (m, b, ...)."""
        if not getattr(self._data, "augments", True):
            # Without augmentation rows are independent of their batch: one look-up serves all members.
            for rows in zip(*(order.epoch(epoch) for order in self._orders), strict=True):
                batch = cast(self._data.batch("train", torch.cat(rows)), self._dtype)
                stacked = {name: value.unflatten(0, (len(rows), -1)) for name, value in batch.items()}
                if self._initial:
                    at_start = zip(self._initial, rows, strict=True)
                    stacked[INITIAL_OUTPUTS] = torch.stack([outputs[chosen] for outputs, chosen in at_start])
                yield stacked
            return
        for stream in self._streams:
            stream.sampler.set_epoch(epoch)
        for own in zip(*self._streams, strict=True):
            yield {name: torch.stack([batch[name] for batch in own]) for name in own[0]}


def _train_epoch(
    epoch: int,
    stack: StackedNetworks,
    optimizer: torch.optim.Optimizer,
    batches: BlockBatches,
    module: ClassifierModule,
    config: RunConfig,
    device: torch.device,
) -> list[EpochRow]:
    """Train all members for one epoch; return each one's mean training loss and score over the rows seen."""
    losses = torch.zeros(len(stack), dtype=torch.float64, device=device)
    points = torch.zeros_like(losses)
    seen = 0
    for index, batch in enumerate(batches.epoch(epoch)):
        here = {name: value.to(device) for name, value in batch.items()}
        inputs, targets = model_inputs(here), targets_of(here)
        assert isinstance(inputs, Tensor)
        for group in optimizer.param_groups:
            group["lr"] = _rate(epoch * len(batches) + index, len(batches), config)
        loss, outputs = stack.training_pass(inputs, targets, module.training_loss, here.get(INITIAL_OUTPUTS))
        optimizer.zero_grad(set_to_none=True)
        loss.sum().backward()
        if config.training.gradient_clip:
            stack.clip_gradients_(config.training.gradient_clip)
        optimizer.step()
        rows = targets.shape[1]
        seen += rows
        losses += loss.detach().double() * rows
        points += _points(module, outputs, targets)
    loss_of, score_of = (losses / seen).tolist(), (points / seen).tolist()
    if module.is_regression:
        return [{"train_loss": a, "train_rmse": b**0.5} for a, b in zip(loss_of, score_of, strict=True)]
    return [{"train_loss": a, "train_accuracy": b} for a, b in zip(loss_of, score_of, strict=True)]


def _points(module: ClassifierModule, outputs: Tensor, targets: Tensor) -> Tensor:
    """Sum over a batch of right decisions, or of squared errors, of every member: shape (m,)."""
    if module.is_regression:
        return ((outputs - targets.reshape(outputs.shape)) ** 2).mean(2).sum(1).double()
    return (predicted_class(outputs.flatten(0, 1)).unflatten(0, outputs.shape[:2]) == targets).sum(1).double()


def _rate(step: int, steps_per_epoch: int, config: RunConfig) -> float:
    training = config.training
    return training.lr * learning_rate_factor(
        step,
        training.epochs * steps_per_epoch,
        schedule=training.schedule,
        warmup=training.warmup,
        milestones=training.milestones,
        gamma=training.gamma,
    )


def _position(epoch: int, steps_per_epoch: int, config: RunConfig) -> EpochRow:
    step = (epoch + 1) * steps_per_epoch
    return {"epoch": epoch + 1, "step": step, "lr": _rate(step - 1, steps_per_epoch, config)}


@torch.no_grad()
def _validation_scores(
    module: ClassifierModule, data: TrainingData, config: RunConfig, device: torch.device, initial: Tensor | None
) -> EpochRow:
    """Score one member on the validation rows exactly as one-by-one training does."""
    if "val" not in data.splits or data.size("val") == 0:
        return {}
    module.eval()
    module.on_validation_epoch_start()
    dtype = network_dtype(config.numerics.precision)
    for batch in EvaluationBatches(data, "val", dtype, "contiguous", initial):
        module.validation_step({name: value.to(device) for name, value in batch.items()}, 0)
    return dict(module.epoch_scores("val"))


def _save(
    path: Path, epoch: int, stack: StackedNetworks, optimizer: torch.optim.Optimizer, members: list[Member]
) -> None:
    """Replace the checkpoint in one step: weights, buffers, optimizer state and histories after an epoch."""
    tensors = {**_named("weights", stack.weights), **_named("buffers", stack.buffers)}
    for name, value in stack.weights.items():
        tensors |= {f"optimizer/{name}/{key}": state for key, state in _state(optimizer, value).items()}
    history = json.dumps([member.history for member in members])
    written = path.with_suffix(".writing")
    plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    save_tensors(plain, written, metadata={"epochs": str(epoch + 1), "history": history})
    replace_sealed(written, path)


def _state(optimizer: torch.optim.Optimizer, parameter: Tensor) -> dict[str, Any]:
    return {key: value for key, value in optimizer.state.get(parameter, {}).items() if isinstance(value, Tensor)}


@torch.no_grad()
def _resume(path: Path, stack: StackedNetworks, optimizer: torch.optim.Optimizer, members: list[Member]) -> int:
    """Resume from the checkpoint if there is a sound one; return the epochs that it holds."""
    drop_if_damaged(path)
    if not path.exists():
        return 0
    with safe_open(path, framework="pt") as file:
        for name, value in {**_named("weights", stack.weights), **_named("buffers", stack.buffers)}.items():
            value.copy_(file.get_tensor(name))
        for key in file.keys():  # noqa: SIM118 - a safetensors file is not a mapping
            part, _, rest = key.partition("/")
            if part == "optimizer":
                name, _, entry = rest.rpartition("/")
                value = file.get_tensor(key)
                # Adam's step counter stays on the CPU, as torch keeps it.
                device = "cpu" if value.ndim == 0 else stack.weights[name].device
                optimizer.state[stack.weights[name]][entry] = value.to(device, copy=True)
        metadata = file.metadata()
    for member, history in zip(members, json.loads(metadata["history"]), strict=True):
        member.history[:] = history
    return int(metadata["epochs"])


def _named(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}/{name}": value for name, value in tensors.items()}
