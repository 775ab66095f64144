"""A run's training as a function of its rows' weights: the same start, batches and rates, in float64."""

from __future__ import annotations

import functools
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from analysis.attribution.optimizer_steps import OptimizerRule
from analysis.attribution.replay import Replay
from analysis.attribution.replay_checks import Batch
from models.logits import logits_of
from models.losses import loss_named
from models.optimizers.schedules import learning_rate_factor
from pipeline.config.run import RunConfig
from pipeline.data.batch_order import BatchOrder, augment_seed
from pipeline.data.batches import TrainingData, cast
from pipeline.engine.artifacts import Artifact
from pipeline.errors import UserError
from pipeline.training.networks import starting_network

TOGETHER = 25
"""Networks, or derivatives, of one vectorized pass."""


def open_replay(config: RunConfig, data: TrainingData, pretrained: Artifact | None, device: torch.device) -> Replay:
    """Set up a run's training to be repeated with other weights of its rows.

    Raises
    ------
    UserError
        If the training draws random masks, or keeps running statistics.
    """
    training = config.training
    network = starting_network(config, data, pretrained).double().to(device)
    rows = data.size("train")
    order = BatchOrder(rows, training.batch_size, config.streams.order, training.shuffle)
    epoch_rows = functools.lru_cache(maxsize=2)(lambda epoch: list(order.epoch(epoch)))

    def batch(step: int) -> Batch:
        epoch, index = divmod(step, len(order))
        chosen = epoch_rows(epoch)[index]
        generator = torch.Generator().manual_seed(augment_seed(config.streams.augment, step))
        made = cast(data.batch("train", chosen, generator), torch.float64)
        targets = made.pop("label").to(device)
        made.pop("id")
        return {name: value.to(device) for name, value in made.items()}, targets, chosen.to(device)

    steps = training.epochs * len(order)
    rates = [
        training.lr
        * learning_rate_factor(
            step,
            steps,
            schedule=training.schedule,
            warmup=training.warmup,
            milestones=training.milestones,
            gamma=training.gamma,
        )
        for step in range(steps)
    ]
    rule = OptimizerRule(training.optimizer, momentum=training.momentum, weight_decay=training.weight_decay)
    loss = loss_named(training.loss, training.label_smoothing)
    together = TOGETHER if config.model.stackable else 1
    try:
        return Replay(network, logits_of, loss, rule, rates, batch, rows, together)
    except ValueError as error:
        way = without_dropout(network) if hasattr(config.model, "architecture") else ""
        raise UserError(f"this training cannot be replayed: {error}{way}.") from error


def without_dropout(network: nn.Module) -> str:
    """Name the setting that leaves the random masks of a network of transformers out; empty where it has none.

    Examples
    --------
    >>> from transformers import GPT2Config, GPT2Model
    >>> without_dropout(GPT2Model(GPT2Config(n_embd=4, n_layer=1, n_head=1, vocab_size=9, attn_pdrop=0.0)))
    " by 'model.architecture={embd_pdrop: 0, resid_pdrop: 0}'"
    """
    held = vars(network.config) if hasattr(network, "config") else {}
    unused = ("summary_first_dropout", "classifier_dropout")
    shares = sorted(n for n, v in held.items() if "drop" in n and n not in unused and isinstance(v, float) and v > 0)
    return f" by 'model.architecture={{{', '.join(f'{name}: 0' for name in shares)}}}'" if shares else ""


def final_weights(replay: Replay, stored: Mapping[str, Tensor]) -> Tensor:
    """Flatten the trained weights of an artifact in the order of a replay."""
    return torch.cat([stored[name].flatten().double() for name in replay.names])


def double_inputs(inputs: Tensor | dict[str, Tensor], kind: str) -> dict[str, Tensor]:
    """Name rows as a replay reads them, in float64."""
    named = inputs if isinstance(inputs, dict) else {"x" if kind == "vector" else "image": inputs}
    return {name: value.double() if value.is_floating_point() else value for name, value in named.items()}
