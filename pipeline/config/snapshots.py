"""Schema of what is recorded while training."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class SnapshotsConfig:
    """What to record while training, and when."""

    record: list[str] = field(default_factory=list)
    """Any of weights, logits, spectra, kernel; empty records nothing."""
    schedule: str = "log"
    """log | epochs | steps."""
    steps: list[int] = field(default_factory=list)
    per_decade: int = 4
    probe: int = 64
    """Training examples in the fixed probe batch."""
    kernel: str = "pntk"
    options: dict[str, Any] = field(default_factory=dict)
