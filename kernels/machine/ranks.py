"""Share row blocks between processes through plain ``torch.distributed``, if it was initialized."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def world() -> tuple[int, int]:
    """(rank, number of processes); (0, 1) without an initialized process group."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def owners(blocks: int, square: bool, processes: int) -> list[int]:
    """Rank of each row block: the longest first, each to the rank with the least work so far.

    Row block i of a square kernel has ``blocks - i`` tiles, of a rectangular one the same number as any other.
    """
    load = [0] * processes
    ranks = [0] * blocks
    for block in range(blocks):
        rank = load.index(min(load))
        ranks[block] = rank
        load[rank] += blocks - block if square else 1
    return ranks


def gather_sum(array: Tensor, device: torch.device, rows: int = 1024) -> None:
    """Add the ranks' arrays in place; exact where each entry is non-zero on one rank only."""
    on_device = dist.get_backend() == "nccl"
    for start in range(0, len(array), rows):
        piece = array[start : start + rows]
        moved = piece.to(device) if on_device else piece.contiguous()
        dist.all_reduce(moved)
        piece.copy_(moved)


def gather_objects(value: list[Any]) -> list[list[Any]]:
    """Every rank's plain values, in the order of the ranks."""
    if world()[1] == 1:
        return [value]
    found: list[Any] = [None] * world()[1]
    dist.all_gather_object(found, value)
    return found


def barrier() -> None:
    """Wait for all ranks, if there are several."""
    if world()[1] > 1:
        dist.barrier()
