"""Schema of retraining without chosen points."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class RetrainingConfig:
    """Train again without some training points, and compare with what attributions predict."""

    subsets: int = 50
    """Random parts of the training rows for the linear datamodeling score; 0 leaves it out."""
    fraction: float = 0.5
    """Share of the training rows in each part."""
    seeds: int = 5
    """Seeds 0 to seeds - 1 of every retraining, the same for all cells."""
    k: int = 20
    """Training points dropped for one test point (leave-k-out)."""
    points: int = 4
    """Test points whose strongest points are dropped; 0 leaves it out."""
    draws: int = 1000
    """Bootstrap draws over test points."""
    seed: int = 0
    """Seed of the parts, the random controls and the bootstrap."""
