"""Schema of attacks on networks and their kernel machines."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class AdversarialConfig:
    """Attacked test points: how far a kernel machine follows its network off the data."""

    radii: list[float] = field(default_factory=lambda: [0.05, 0.1, 0.2, 0.3])
    """L∞ radii in pixels of [0, 1]."""
    steps: int = 7
    """Steps of projected gradient ascent (PGD-7)."""
    other: int = 1000
    """Seed of the other training that attacks are transferred from."""
    seed: int = 0
    """Seed of the attacks' random starts, apart from the seeds of data and training."""
