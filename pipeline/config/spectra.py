"""Schema of the random-matrix reading of weights."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class SpectraConfig:
    """Random-matrix reading of weight and kernel spectra."""

    min_side: int = 50
    null_draws: int = 200
    layers: list[str] = field(default_factory=lambda: ["*"])
