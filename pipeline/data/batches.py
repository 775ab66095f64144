"""Batches in memory: what training and evaluation iterate over."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from models.logits import INITIAL_OUTPUTS, Batch
from pipeline.data.batch_order import BatchOrder, augment_seed

EVALUATION_ROWS = 64
"""Rows of an evaluation batch: fixed, because the size of a matrix product can change its last bit, and few, because
activations of 500 images leave the cache: 64 take 43 to 69 % of their time in convolutional networks."""


@runtime_checkable
class TrainingData(Protocol):
    """What training asks of a data module: splits in memory, rows by index."""

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        ...

    @property
    def n_targets(self) -> int:
        """Width of the output: number of classes, or of regression targets."""
        ...

    @property
    def splits(self) -> list[str]:
        """Names of the splits; ``train`` is one, ``val`` may be missing or empty."""
        ...

    def size(self, name: str) -> int:
        """Rows of a split."""
        ...

    def batch(self, name: str, indices: Tensor, generator: torch.Generator | None = None) -> Batch:
        """Model inputs, targets and ids of some rows, on the CPU; training rows augmented from ``generator``."""
        ...


def cast(batch: Batch, dtype: torch.dtype, memory_format: str = "contiguous") -> Batch:
    """Give floating-point entries the precision of the network, and images its memory format."""
    layout = torch.channels_last if memory_format == "channels_last" else torch.contiguous_format
    return {
        name: value.to(
            dtype=dtype if value.is_floating_point() else value.dtype,
            memory_format=layout if value.ndim == 4 else torch.preserve_format,
        )
        for name, value in batch.items()
    }


def _with_initial(batch: Batch, initial: Tensor | None, rows: Tensor) -> Batch:
    return batch if initial is None else batch | {INITIAL_OUTPUTS: initial[rows]}


class _Epoch:
    """Takes the epoch number from Lightning, which looks for ``sampler.set_epoch``."""

    number = 0

    def set_epoch(self, epoch: int) -> None:
        self.number = epoch


class TrainingBatches:
    """Training batches of one epoch after another, each a function of (seeds, epoch, position).

    Parameters
    ----------
    data : TrainingData
        Source of rows.
    order : BatchOrder
        Rows of each batch.
    augment : int
        Seed of the augmentation stream.
    dtype : torch.dtype
        Precision of floating-point inputs.
    memory_format : str
        ``contiguous`` or ``channels_last``.
    initial : Tensor of shape (n, c), optional
        Outputs at initialization, handed out with their rows.
    """

    def __init__(
        self,
        data: TrainingData,
        order: BatchOrder,
        augment: int,
        dtype: torch.dtype,
        memory_format: str,
        initial: Tensor | None = None,
    ) -> None:
        self.data = data
        self.order = order
        self.augment = augment
        self.dtype = dtype
        self.memory_format = memory_format
        self.initial = initial
        self.sampler = _Epoch()

    def __len__(self) -> int:
        """Batches in an epoch."""
        return len(self.order)

    def __iter__(self) -> Iterator[Batch]:
        """Iterate over this rank's share of the batches of the current epoch."""
        rank, world_size = 0, 1
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            rank, world_size = torch.distributed.get_rank(), torch.distributed.get_world_size()
        epoch = self.sampler.number
        for index, rows in enumerate(self.order.epoch(epoch, rank, world_size)):
            step = epoch * len(self.order) + index
            generator = torch.Generator().manual_seed(augment_seed(self.augment, step * world_size + rank))
            batch = cast(self.data.batch("train", rows, generator), self.dtype, self.memory_format)
            yield _with_initial(batch, self.initial, rows)


class EvaluationBatches:
    """Rows of a split in batches of :data:`EVALUATION_ROWS`, not augmented: all in stored order, or those named."""

    def __init__(
        self,
        data: TrainingData,
        split: str,
        dtype: torch.dtype,
        memory_format: str,
        initial: Tensor | None = None,
        rows: Tensor | None = None,
    ) -> None:
        self.initial = initial
        self.data = data
        self.split = split
        self.dtype = dtype
        self.memory_format = memory_format
        self.rows = torch.arange(data.size(split)) if rows is None else rows

    def __len__(self) -> int:
        """Batches in all."""
        return -(-len(self.rows) // EVALUATION_ROWS)

    def __iter__(self) -> Iterator[Batch]:
        """Iterate over the rows."""
        for rows in self.rows.split(EVALUATION_ROWS) if len(self.rows) else ():
            batch = cast(self.data.batch(self.split, rows), self.dtype, self.memory_format)
            yield _with_initial(batch, self.initial, rows)
