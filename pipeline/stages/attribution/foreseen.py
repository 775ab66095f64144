"""What stage ``attribution`` refuses about a network, told before it is trained."""

from __future__ import annotations

import torch
from torch import nn

from analysis.attribution.influence import require_dual
from kernels import kernel_features
from models.configs import CustomConfig
from pipeline.config.run import RunConfig
from pipeline.data.batch_order import BatchOrder
from pipeline.data.datamodule import DataModule
from pipeline.errors import UserError
from pipeline.training.networks import output_layer
from pipeline.training.replaying import open_replay

FEW = 3
"""Rows that are tried."""
HIDDEN = {"representer", "embedding"}
"""Methods that read the input of the layer that gives the logits."""


def foresee(config: RunConfig, data: DataModule, network: nn.Module) -> None:
    """Look for what the configured methods read; in a network of the user's own, since ours are known.

    Raises
    ------
    UserError
        If no layer gives the logits, and a method reads its input.
    """
    methods = {config.attribution.method, *config.attribution.methods}
    refuse_neighbors(config)
    if "exact_influence" in methods:
        refuse_large_dual(config, data)
    if "tracin" in methods and config.weights.source == "train":
        refuse_steps_past_training(config, data)
    if {"magic", "source"} & methods:
        open_replay(config, data, None, torch.device("cpu"))
    if methods & HIDDEN and isinstance(config.model, CustomConfig):
        inputs = data.kernel_inputs("train", FEW).inputs
        try:
            kernel_features(network, inputs, kind="conjugate", sketch=None, output_layer=output_layer(config))
        except (ValueError, TypeError) as error:
            raise UserError(
                f"attribution.method={sorted(methods & HIDDEN)[0]} reads the input of the layer that gives the logits, "
                "and no linear layer gives them; name that layer by model.head, such as model.head=fc, or take another "
                "method."
            ) from error


def refuse_steps_past_training(config: RunConfig, data: DataModule) -> None:
    """Refuse checkpoints at steps that training does not reach.

    Raises
    ------
    UserError
        With the step, and the number of steps.
    """
    each = len(BatchOrder(data.size("train"), config.training.batch_size, 0))
    total, wanted = config.training.epochs * each, config.attribution.checkpoints
    if wanted and max(wanted) > total:
        raise UserError(
            f"attribution.checkpoints={wanted} goes past the {total} steps of this training ({each} an epoch); -1 is "
            "the last."
        )


def refuse_large_dual(config: RunConfig, data: DataModule) -> None:
    """Refuse a dual of the exact curvature that is too large to factorize.

    Raises
    ------
    UserError
        With the numbers, and what to do.
    """
    rows = data.size("train")
    try:
        require_dual(min(rows, config.kernel.n_train or rows), data.n_targets)
    except ValueError as error:
        raise UserError(f"{error}.") from error


def refuse_neighbors(config: RunConfig) -> None:
    """Refuse to split the logit of a machine that has none.

    Raises
    ------
    UserError
        With the method that works.
    """
    choice = config.attribution
    if config.surrogate.kind == "knn" and "kernel" in (choice.method, *choice.methods):
        raise UserError(
            "attribution.method=kernel splits a linear surrogate's logit, and surrogate=knn has no weights; use "
            "attribution.method=similarity."
        )
