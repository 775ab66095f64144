"""Schemas of retraining without chosen points, and of the attribution of disagreement between seeds."""

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
    k: int = setting(20, "Training points dropped for one test point (leave-k-out); 0 leaves it out.", at_least=0)
    points: int = setting(4, "Test points whose strongest points are dropped (k, top); 0 leaves both out.", at_least=0)
    omitted: list[float] = setting(
        [],
        "Shares of the training points, at least one point, left out under the same seed and batches by a weight of 0 "
        "in the loss; empty leaves this out.",
        above=0,
        below=1,
        distinct=True,
    )
    omissions: int = setting(50, "Random parts that are left out for each share of omitted.", at_least=3)
    top: float = setting(
        0.0,
        "Share of the training points that support a test point most, left out in the same way to see its loss rise, "
        "for every method and each of points; 0 leaves this out.",
        at_least=0,
        below=1,
    )
    draws: int = setting(1000, "Bootstrap draws over parts and test points.", at_least=2)
    seed: int = setting(0, "Seed of the parts, the random controls and the bootstrap.", at_least=0)


@dataclass
class SpreadConfig:
    """Which training points make seeds disagree, and what training without them changes."""

    seeds: int = setting(8, "Seeds 0 to seeds - 1, whose variance is differentiated.", at_least=2)
    judges: int = setting(8, "The next seeds, which are trained without the points and compared.", at_least=2)
    share: float = setting(0.05, "Share of the training points that is left out, by a weight of 0.", above=0, below=1)
    controls: int = setting(10, "Random sets of the same size.", at_least=2)
    seed: int = setting(0, "Seed of the random sets.", at_least=0)
