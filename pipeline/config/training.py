"""Schema of training, its random streams and the weights that later stages look at."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class TrainingAttackConfig:
    """Adversarial training: batches attacked by projected gradient ascent before they are learnt from."""

    radius: float = 0.0
    """L∞ radius in pixels of [0, 1]; 0 trains on clean images."""
    steps: int = 7
    seed: int = 0
    """Seed of the attacks' random starts."""


@dataclass
class TrainingConfig:
    """Loss, optimiser, schedule and length of training."""

    loss: str = "cross_entropy"
    """cross_entropy | bce | mse | mse_01 | sigmoid_mse | softmax_mse | regression."""
    optimizer: str = "sgd"
    """sgd | nesterov | adam | adamw."""
    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 0.0
    schedule: str = "constant"
    """constant | cosine | step."""
    warmup: float = 0.0
    """Share of all steps spent on a linear warm-up."""
    milestones: list[float] = field(default_factory=list)
    """Shares of all steps at which a step schedule multiplies the rate by ``gamma``."""
    gamma: float = 0.1
    epochs: int = 10
    batch_size: int = 128
    shuffle: bool = True
    gradient_clip: float | None = None
    attack: TrainingAttackConfig = field(default_factory=TrainingAttackConfig)


@dataclass
class PretrainConfig:
    """An earlier task on other classes of the same data set, whose weights a training starts from."""

    classes: list[int] | None = None
    """Classes of the earlier task; null: training starts from random weights."""
    per_class: int | None = None
    epochs: int = 10
    lr: float = 0.1
    seed: int = 0
    """Every stream of the earlier training; all runs start from the one network that it gives."""


@dataclass
class SeedsConfig:
    """Named random streams of one run; each follows ``seed`` unless set."""

    init: int = 0
    order: int = 0
    augment: int = 0
    dropout: int = 0


@dataclass
class EnsembleConfig:
    """Which seeds train together under ``numerics.engine=ensemble``."""

    block: int = 20
    """Seeds of one block: 0 to 19, 20 to 39, ..., whichever of them is asked for."""
    varying: list[str] | None = None
    """Streams in which members differ; null: those that equal ``seed``."""


@dataclass
class WeightsConfig:
    """Which weights the stages after training look at."""

    source: str = "train"
    """train | init | pretrained."""
    step: int | None = None
    """A snapshot's step; null is the end of training."""
