"""Schema of the straight lines between the networks of two seeds."""

from __future__ import annotations

from dataclasses import dataclass

from models.fields import choice, setting


@dataclass
class BarriersConfig:
    """Loss and error on the straight line from a run's network to that of the next seed."""

    matching: list[str] = choice(
        "none",
        "weights",
        "activations",
        default=["none", "weights", "activations"],
        filled=True,
        help="How units of the other network are matched before.",
    )
    points: int = setting(11, "Networks on the line, both ends included.", at_least=3)
    rows: int | None = setting(
        2000, "Rows of each split that they are evaluated on, the first ones; null: all.", at_least=2
    )
    other: int | None = setting(
        None, "Seed of the other network; null: the next seed of the study, after the last one the first.", at_least=0
    )
    seed: int = setting(0, "Seed of the order in which weights are matched.", at_least=0)
