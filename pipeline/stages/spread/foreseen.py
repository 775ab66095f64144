"""What stage ``spread`` refuses about its rows, told before the derivatives are made."""

from __future__ import annotations

from torch import nn

from pipeline.config.run import RunConfig
from pipeline.data.datamodule import DataModule
from pipeline.errors import UserError


def foresee(config: RunConfig, data: DataModule, network: nn.Module) -> None:
    """Ask for classes, and for points that remain.

    Raises
    ------
    UserError
        If the rows have no classes, or all would be left out.
    """
    if not data.n_classes:
        raise UserError("stage=spread measures decisions between classes; this is a regression task.")
    points_left_out(config.spread.share, data.size("train"))


def points_left_out(share: float, rows: int) -> int:
    """Points of a share of the rows, at least one.

    Raises
    ------
    UserError
        If none would remain.

    Examples
    --------
    >>> points_left_out(0.05, 240), points_left_out(0.001, 240)
    (12, 1)
    """
    k = max(1, round(share * rows))
    if k >= rows:
        raise UserError(f"spread.share={share:g} leaves out all {rows} training points; choose a smaller share.")
    return k
