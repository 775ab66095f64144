"""What a kernel is computed with: arithmetic, memory, processes, and random numbers that depend on a counter alone."""

from __future__ import annotations

from kernels.machine.memory import parse_memory, show_bytes
from kernels.machine.precision import Precision, precision_named

__all__ = ["parse_memory", "Precision", "precision_named", "show_bytes"]
