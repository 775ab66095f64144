"""Gram matrices out of gradient factors: the exact forms of each layer's product, a plan of tiles, the result."""

from __future__ import annotations

from kernels.contraction.plan import Plan
from kernels.contraction.result import KernelResult

__all__ = ["KernelResult", "Plan"]
