"""Schema of retraining without chosen points."""

from __future__ import annotations

from dataclasses import dataclass

from models.fields import setting


@dataclass
class RetrainingConfig:
    """Train again without some training points, and compare with what attributions predict."""

    subsets: int = setting(
        50, "Random parts of the training rows for the linear datamodeling score; 0 leaves it out.", at_least=0
    )
    fraction: float = setting(0.5, "Share of the training rows in each part.", above=0, below=1)
    seeds: int = setting(5, "Seeds 0 to seeds - 1 of every retraining, the same for all cells.", at_least=1)
    k: int = setting(20, "Training points dropped for one test point (leave-k-out).", at_least=1)
    points: int = setting(4, "Test points whose strongest points are dropped; 0 leaves it out.", at_least=0)
    draws: int = setting(1000, "Bootstrap draws over parts and test points.", at_least=2)
    seed: int = setting(0, "Seed of the parts, the random controls and the bootstrap.", at_least=0)
