"""Schema of the random-matrix reading of weights."""

from __future__ import annotations

from dataclasses import dataclass

from models.fields import setting


@dataclass
class SpectraConfig:
    """Random-matrix reading of weight and kernel spectra."""

    min_side: int = setting(50, "Shorter side that a weight matrix needs to be read.", at_least=1)
    null_draws: int = setting(200, "Noise spectra behind a tail's p-values; 0 fits no tail.", at_least=0)
    layers: list[str] = setting(["*"], "Globs of the weights that are read.", filled=True, distinct=True)
