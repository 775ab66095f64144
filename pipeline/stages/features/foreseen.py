"""What stage ``features`` refuses about a network, told before it is trained."""

from __future__ import annotations

from torch import nn

from pipeline.config.run import RunConfig
from pipeline.data.datamodule import DataModule
from pipeline.stages.features.layers import split_features
from pipeline.training.networks import output_layer

FEW = 4
"""Rows that are tried."""


def foresee(config: RunConfig, data: DataModule, network: nn.Module) -> None:
    """Read the configured layers on a few rows of each split.

    Raises
    ------
    UserError
        If a layer is not there or cannot be pooled, no layer gives the logits, or there is no such split.
    """
    choice = config.features
    for split in choice.splits:
        split_features(network, data.kernel_inputs(split, FEW), choice.layers, choice.pool, output_layer(config))
