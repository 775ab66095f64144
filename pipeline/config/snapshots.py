"""Schema of what is recorded while training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from models.fields import choice, setting


@dataclass
class SnapshotsConfig:
    """What to record while training, and when."""

    record: list[str] = choice(
        "weights", "logits", "spectra", "kernel", default=[], help="What is recorded; empty records nothing."
    )
    schedule: str = choice("log", "epochs", "steps", default="log", help="When: see per_decade and steps.")
    steps: list[int] = setting(
        [], "schedule=steps: optimizer steps; -1 stands for the last.", at_least=-1, distinct=True
    )
    per_decade: int = setting(4, "schedule=log: snapshots per factor of ten in steps.", at_least=1)
    probe: int = setting(64, "Training examples in the fixed probe batch.", at_least=1)
    kernel: str = choice(
        "trntk",
        "pntk",
        "entk",
        "conjugate",
        "embedding",
        "loss_gradient",
        default="pntk",
        help="Kernel of the probe batch.",
    )
    options: dict[str, Any] = setting({}, "Further options of that kernel, see kernels.kernel_matrix.")
