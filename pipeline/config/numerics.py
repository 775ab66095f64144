"""Schema of the arithmetic that can change a bit, and of the hardware, which cannot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from models.fields import choice, setting


@dataclass
class NumericsConfig:
    """Everything about the machine's arithmetic that can change a bit of the result."""

    device: str = choice("cpu", "cuda", default="cpu", help="Where a stage computes.")
    threads: int = setting(1, "Threads on the CPU; their number changes bits.", at_least=1)
    memory_format: str = choice(
        "contiguous", "channels_last", default="contiguous", help="Order of an image's values in memory."
    )
    precision: str = choice(
        "32-true",
        "64-true",
        "tf32",
        "16-mixed",
        "bf16-mixed",
        "16-true",
        "bf16-true",
        default="32-true",
        help="Lightning's name for the arithmetic of training; tf32 is float32 with TF32 matrix products.",
    )
    deterministic: bool = setting(True, "Use deterministic algorithms only.")
    engine: str = choice(
        "lightning", "ensemble", default="lightning", help="Train each seed by itself, or a block of seeds at once."
    )
    world_size: int = setting(
        1, "Ranks that share the training of one network (and its kernel): they change its bits.", at_least=1
    )
    batchnorm: str = choice(
        "per_rank",
        "sync",
        default="per_rank",
        help="Statistics of batch normalization with several ranks; sync needs GPUs.",
    )


@dataclass
class HardwareConfig:
    """Where jobs run. Never part of an artifact's address."""

    devices: int = setting(1, "Devices of one job; equals numerics.world_size.", at_least=1)
    tasks_per_node: int = setting(1, "Ranks that a job starts on its node, one per device.", at_least=1)
    progress: bool = setting(True, "Show progress bars.")
    cluster: str = choice(
        "none",
        "slurm",
        default="none",
        help="slurm: a command without -m submits everything that it lacks as chained job arrays, and leaves.",
    )
    job_minutes: float = setting(
        5.0, "Artifacts are put into one job until it lasts about so long, by the times of earlier ones.", at_least=0
    )
    resources: dict[str, dict[str, Any]] = setting(
        {}, "What the jobs of a stage get instead of hydra.launcher's values: stage to fields of hydra.launcher."
    )
