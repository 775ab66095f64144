"""Schema of the arithmetic that can change a bit, and of the hardware, which cannot."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class NumericsConfig:
    """Everything about the machine's arithmetic that can change a bit of the result."""

    device: str = "cpu"
    threads: int = 1
    memory_format: str = "contiguous"
    precision: str = "32-true"
    deterministic: bool = True
    engine: str = "lightning"
    """lightning | ensemble."""
    world_size: int = 1
    """Ranks that share the training of one network (and its kernel): they change its bits."""
    batchnorm: str = "per_rank"
    """per_rank | sync: statistics of batch normalisation with several ranks; sync needs GPUs."""


@dataclass
class HardwareConfig:
    """Where jobs run. Never part of an artefact's address."""

    devices: int = 1
    """Devices of one job; equals ``numerics.world_size``."""
    tasks_per_node: int = 1
    """Ranks that a job starts on its node, one per device."""
    progress: bool = True
