"""Schema of seed statistics, and of the straight lines between the networks of two seeds."""

from __future__ import annotations

from dataclasses import dataclass

from models.fields import choice, setting


@dataclass
class StatisticsConfig:
    """Seed statistics over the runs of every group of cells."""

    quantity: str = choice(
        "auto",
        "gap",
        "signed_gap",
        "prob",
        "loss",
        "margin",
        "top_two",
        default="auto",
        help="What is compared; auto: gap with two classes, margin with more.",
    )
    split: str = setting("test", "Split whose outputs are compared.")
    eps: float = setting(0.01, "False-alarm rate of the DKW threshold.", above=0, below=1)
    deltas: list[float] = setting(
        [0.05, 0.1], "Fixed resolutions reported beside the DKW threshold.", above=0, below=1, distinct=True
    )
    draws: int = setting(200, "Bootstrap draws; an interval wants 20 or more.", at_least=2)
    seed: int = setting(0, "Seed of the bootstrap and of random splits of the runs.", at_least=0)
    on_bad_run: str = choice("error", "drop", default="error", help="What to do with runs that diverged.")
    claims: list[str] = choice(
        "A1",
        "A2",
        "B1",
        "B2",
        "B3",
        "B3-rival",
        "B4",
        default=[],
        help="Published claims to decide for every group of cells; B3-rival judges another choice by the rules of B3.",
    )
    arms: list[str] = setting(
        [], "B4: label of the group trained from scratch, then of the fine-tuned one.", distinct=True
    )
    subsets: int = setting(
        20, "Random subsets of runs at each size, for the curve over the number of seeds.", at_least=1
    )
    bins: int = setting(15, "Bins of the calibration error.", at_least=1)
    history: bool = setting(
        False,
        "Also levels after each epoch: needs snapshots.record=[logits] and snapshots.schedule=epochs.",
    )
    released: bool = setting(False, "Also compute levels under the released protocols, switch by switch.")


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
