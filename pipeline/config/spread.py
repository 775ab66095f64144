"""Schema of the attribution of disagreement between seeds."""

from __future__ import annotations

from dataclasses import dataclass

from models.fields import setting


@dataclass
class SpreadConfig:
    """Which training points make seeds disagree, and what training without them changes."""

    seeds: int = setting(8, "Seeds 0 to seeds - 1, whose variance is differentiated.", at_least=2)
    judges: int = setting(8, "The next seeds, which are trained without the points and compared.", at_least=2)
    share: float = setting(0.05, "Share of the training points that is left out, by a weight of 0.", above=0, below=1)
    controls: int = setting(10, "Random sets of the same size.", at_least=2)
    seed: int = setting(0, "Seed of the random sets.", at_least=0)
