"""What stage ``barriers`` refuses about a network, told before it is trained."""

from __future__ import annotations

import torch
from torch import nn

from pipeline.config.run import RunConfig
from pipeline.data.batches import cast
from pipeline.data.datamodule import DataModule
from pipeline.errors import UserError
from pipeline.stages.barriers.networks import groups_of


def foresee(config: RunConfig, data: DataModule, network: nn.Module) -> None:
    """Look for units that can be matched, and for classes.

    Raises
    ------
    UserError
        If the network has none that are known, or the task is a regression.
    """
    if not data.n_classes:
        raise UserError("stage=barriers counts wrong decisions, and this is a regression task; take it out of wants.")
    if {*config.barriers.matching} - {"none"}:
        batch = cast(data.batch("train", torch.arange(min(4, data.size("train")))), torch.float64)
        groups_of(network, batch, config.model.name)
