"""Schema of attacks on networks and their kernel machines."""

from __future__ import annotations

from dataclasses import dataclass

from models.fields import setting


@dataclass
class AdversarialConfig:
    """Attacked test points: how far a kernel machine follows its network off the data."""

    radii: list[float] = setting(
        [0.05, 0.1, 0.2, 0.3], "L∞ radii in pixels of [0, 1].", above=0, at_most=1, filled=True, distinct=True
    )
    steps: int = setting(7, "Steps of projected gradient ascent (PGD-7).", at_least=1)
    other: int = setting(1000, "Seed of the other training that attacks are transferred from.", at_least=0)
    seed: int = setting(0, "Seed of the attacks' random starts, apart from the seeds of data and training.", at_least=0)
