"""How fast this machine multiplies matrices, measured once."""

from __future__ import annotations

import time
from functools import lru_cache

import torch

from kernels.machine.precision import Precision, product


@lru_cache(maxsize=8)
def measure_rate(device: torch.device, precision: Precision) -> float:
    """Multiply-adds per second of a contraction's square matrix product, measured once per device and precision."""
    side = 4096 if device.type == "cuda" else 512
    matrix = torch.ones(side, side, device=device, dtype=precision.operands)
    seconds = float("inf")
    with precision.contraction():
        for _ in range(3):
            wait_for(device)
            start = time.perf_counter()
            product(matrix, matrix)
            wait_for(device)
            seconds = min(seconds, time.perf_counter() - start)
    return side**3 / seconds


def wait_for(device: torch.device) -> None:
    """Wait for a GPU's work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
