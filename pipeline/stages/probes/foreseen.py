"""What stage ``probes`` refuses about rows, told before a network is trained on them."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from pipeline.config.run import RunConfig
from pipeline.data.datamodule import DataModule
from pipeline.errors import UserError


def foresee(config: RunConfig, data: DataModule, network: nn.Module) -> None:
    """Hold the classes of the rows, and the splits of the features, against what probes need."""
    refuse_unfit(config.features.splits, data.n_classes)


def refuse_unfit(splits: Sequence[str], classes: int) -> None:
    """Refuse features that cannot be probed.

    Raises
    ------
    UserError
        If there are fewer than two splits, or targets that are no classes.
    """
    if len(splits) < 2:
        raise UserError(
            f"probes fit on one split and score on another; features.splits={list(splits)} names one. Name two, such "
            "as 'features.splits=[train,test]'."
        )
    if classes < 2:
        raise UserError("probes classify; these features come from a regression task. Take probes out of wants.")
