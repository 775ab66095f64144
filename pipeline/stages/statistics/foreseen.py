"""What stage ``statistics`` refuses about rows, told before networks are trained on them."""

from __future__ import annotations

from torch import nn

from analysis.trimming.thresholds import dkw_threshold
from pipeline.config.run import RunConfig
from pipeline.data.datamodule import DataModule
from pipeline.errors import UserError


def foresee(config: RunConfig, data: DataModule, network: nn.Module) -> None:
    """Hold the split that runs are judged on against what their statistics need.

    Raises
    ------
    UserError
        If there is no such split, its targets are no classes, or it has too few examples for a tolerance.
    """
    split = config.statistics.split
    if not data.n_classes:
        raise UserError(
            f"Seed statistics need class labels, and data={config.data.name} has real targets; take statistics out of "
            "wants."
        )
    tolerance_of(config, data.size(split))


def tolerance_of(config: RunConfig, examples: int) -> float:
    """Tolerance that runs with equal laws exceed with a chance of ``statistics.eps``, for this number of examples.

    Raises
    ------
    UserError
        If no tolerance below 1 is left.
    """
    try:
        return dkw_threshold(examples, examples, eps=config.statistics.eps)
    except ValueError as error:
        raise UserError(
            f"The {config.statistics.split} split has {examples} examples: {error}; or take statistics out of wants."
        ) from error
