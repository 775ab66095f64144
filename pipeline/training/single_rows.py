"""Refuse a size of batch that leaves a single row to batch normalization, before hours of training end there."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from models.logits import logits_of
from pipeline.data.batches import TrainingData, cast
from pipeline.errors import UserError


def refuse_single_rows(model: nn.Module, data: TrainingData, batch_size: int, world_size: int = 1) -> None:
    """Refuse a training in which a batch has one row and the network cannot learn from one.

    Normalization over a batch needs two values of each channel. One image of several pixels has them; one image that
    the network has shrunk to a pixel, or one vector, has not.

    Parameters
    ----------
    model : nn.Module
        On the CPU; a copy of it is tried on one row.
    data : TrainingData
        Splits in memory.
    batch_size : int
        Rows of a batch over all ranks.
    world_size : int
        Ranks that share each batch.

    Raises
    ------
    UserError
        With the nearest size of batch that works.
    """
    n = data.size("train")
    if fewest_rows(n, batch_size, world_size) > 1 or not any(isinstance(part, _NormBase) for part in model.modules()):
        return
    row = cast(data.batch("train", torch.zeros(1, dtype=torch.int64)), torch.float32)
    try:
        with torch.no_grad():
            logits_of(copy.deepcopy(model).float().train(), row)
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        fitting = [size for size in range(2, n + 1) if fewest_rows(n, size, world_size) > 1]
        way = (
            f"set training.batch_size={min(fitting, key=lambda size: (abs(size - batch_size), size))}"
            if fitting
            else "take more training rows"
        )
        raise UserError(
            f"training.batch_size={batch_size} cuts {n} training rows so that a batch"
            f"{' of a rank' if world_size > 1 else ''} has one row, from which batch normalization can take no "
            f"statistics; {way}."
        ) from error


def fewest_rows(n: int, batch_size: int, world_size: int = 1) -> int:
    """Count the rows of the smallest share of a batch that a rank sees, as ``BatchOrder`` cuts them.

    Examples
    --------
    >>> fewest_rows(54, 53), fewest_rows(54, 52), fewest_rows(54, 6, world_size=4)
    (1, 2, 1)
    """
    size = min(batch_size, n)
    return min(max(1, rows // world_size) for rows in (size, n % size or size))
