"""Random linear maps that shorten per-sample gradients and keep their inner products."""

from __future__ import annotations

from kernels.sketches.base import Sketch
from kernels.sketches.countsketch import CountSketch
from kernels.sketches.rademacher import Rademacher
from kernels.sketches.tensorsketch import TensorSketch

__all__ = ["CountSketch", "Rademacher", "Sketch", "TensorSketch"]
