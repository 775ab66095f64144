"""Schema of layer outputs."""

from __future__ import annotations

from dataclasses import dataclass

from models.fields import choice, setting


@dataclass
class FeaturesConfig:
    """Layer outputs computed once over a split and shared by probes and shift tests."""

    layers: list[str] = setting(
        ["penultimate"],
        "Module paths or globs; also penultimate (input of the output layer) and blocks.",
        distinct=True,
    )
    pool: str = choice(
        "flatten",
        "mean",
        "last",
        "first",
        default="flatten",
        help="How a layer's positions become one row; of texts, mean and last count real tokens only. Pixels have no "
        "first or last.",
    )
    splits: list[str] = setting(
        ["train", "test"], "Splits whose rows pass through the network.", filled=True, distinct=True
    )
    limit: int | None = setting(None, "Rows of each split; null takes all.", at_least=1)
    noise: float = setting(
        0.0,
        "Standard deviation of Gaussian noise on the normalized images or vectors of a further copy of every split "
        "after the first, SPLIT_noisy; 0 makes no copy.",
        at_least=0,
    )
