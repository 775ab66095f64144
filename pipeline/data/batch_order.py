"""Order of training rows and seeds of single steps: functions of (seed, epoch or step) alone.

A run that is killed and resumed therefore sees the same rows and draws the same random numbers as one that was
never disturbed, independent of the state of any generator in between.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

_ORDER, _AUGMENT, _DROPOUT = range(3)


def _word(seed: int, stream: int, count: int) -> int:
    return int(np.random.SeedSequence([seed, stream, count]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def augment_seed(seed: int, step: int) -> int:
    """Seed of the augmentation of one step (63 bits), independent of every other stream."""
    return _word(seed, _AUGMENT, step)


def dropout_seed(seed: int, step: int, rank: int = 0) -> int:
    """Seed of the dropout masks of one step on one rank (63 bits)."""
    return _word(seed, _DROPOUT + rank, step)


class BatchOrder:
    """Rows of every batch of an epoch.

    Parameters
    ----------
    n : int
        Training rows.
    batch_size : int
        Rows of a batch over all ranks; the last batch of an epoch holds what is left.
    seed : int
        Order seed; the permutation of epoch e is a function of (seed, e).
    shuffle : bool
        Without it rows come in their stored order in every epoch.

    Examples
    --------
    >>> order = BatchOrder(5, 2, seed=0, shuffle=False)
    >>> [rows.tolist() for rows in order.epoch(0)]
    [[0, 1], [2, 3], [4]]
    """

    def __init__(self, n: int, batch_size: int, seed: int, shuffle: bool = True) -> None:
        if n < 1:
            raise ValueError("there are no training rows")
        if batch_size < 1:
            raise ValueError(f"training.batch_size must be positive, got {batch_size}")
        self.n = n
        self.batch_size = min(batch_size, n)
        self.seed = seed
        self.shuffle = shuffle

    def __len__(self) -> int:
        """Batches in an epoch."""
        return -(-self.n // self.batch_size)

    def epoch(self, epoch: int, rank: int = 0, world_size: int = 1) -> Iterator[Int[Tensor, " b"]]:
        """Iterate over one rank's rows of each batch of an epoch.

        Rank r takes every ``world_size``-th row of a batch from the r-th on. With several ranks, rows of a batch
        beyond a multiple of ``world_size`` are left out, so that the mean of the ranks' mean gradients is the
        mean over the rows seen. A batch smaller than ``world_size`` is repeated instead, so that no rank is empty.
        """
        if self.shuffle:
            rows = torch.randperm(self.n, generator=torch.Generator().manual_seed(_word(self.seed, _ORDER, epoch)))
        else:
            rows = torch.arange(self.n)
        for batch in rows.split(self.batch_size):
            if len(batch) < world_size:
                batch = batch[torch.arange(world_size) % len(batch)]
            yield batch[: len(batch) // world_size * world_size][rank::world_size]
