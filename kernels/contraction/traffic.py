r"""Memory-traffic cost model: what writing and reading intermediates costs, in equivalent multiply-adds.

The form of a layer decides the last bits of a kernel, so it may not depend on a timing: these are constants, by device
type and precision. On a GPU a number moved costs its bytes, divided by the bandwidth, times the rate of
multiply-adds, both as a GPU of the H100 or H200 class sustains them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from kernels.machine.precision import Precision

BANDWIDTH = 3.5e12
"""Bytes per second: 85 % of 3.35 (H100) to 4.8 TB/s (H200)."""

RATES = {"tf32": 150e12, "bfloat16": 300e12, "float32": 22.5e12, "float64": 25e12}
"""Multiply-adds per second of large matrix products."""


@dataclass(frozen=True)
class TrafficCost:
    """Equivalent multiply-adds for each element of an intermediate.

    Attributes
    ----------
    positions : float
        Two products over pairs of positions: written both, multiplied (two read, one written), summed (one read).
    pairs : float
        The same over pairs of samples, which need no sum; added to the tile (two read, one written).
    shift : float
        Addition of a shifted Gram (two read, one written), and a third of filling the sum with zeros; through strided
        views, at half the bandwidth.
    """

    positions: float
    pairs: float
    shift: float


HOST = TrafficCost(positions=10.0, pairs=2.0, shift=10.0)
"""Measured on CPUs, where caches hold part of the traffic."""


def traffic_cost_on(device: torch.device, precision: Precision) -> TrafficCost:
    """Traffic costs of a device in one precision."""
    if device.type != "cuda":
        return HOST
    number = torch.finfo(precision.passes).bits // 8 / BANDWIDTH * RATES[precision.name]
    return TrafficCost(positions=6 * number, pairs=8 * number, shift=20 / 3 * number)
