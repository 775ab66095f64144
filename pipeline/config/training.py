"""Schema of training, its random streams and the weights that later stages look at."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from models.fields import choice, setting


@dataclass
class TrainingAttackConfig:
    """Adversarial training: batches attacked by projected gradient ascent before they are learned from."""

    radius: float = setting(0.0, "L∞ radius in pixels of [0, 1]; 0 trains on clean images.", at_least=0, at_most=1)
    steps: int = setting(7, "Steps of an attack.", at_least=1)
    seed: int = setting(0, "Seed of the attacks' random starts.", at_least=0)


@dataclass
class TrainingConfig:
    """Loss, optimizer, schedule and length of training."""

    loss: str = choice(
        "cross_entropy",
        "bce",
        "mse",
        "mse_01",
        "sigmoid_mse",
        "softmax_mse",
        "regression",
        default="cross_entropy",
        help="What is minimized; regression is for real targets.",
    )
    label_smoothing: float = setting(
        0.0, "Share of the target that loss=cross_entropy spreads over all classes.", at_least=0, below=1
    )
    optimizer: str = choice(
        "sgd",
        "nesterov",
        "adam",
        "adamw",
        "muon",
        default="sgd",
        help="Optimizer; muon moves hidden weight matrices by orthogonalized steps and the rest as adamw does.",
    )
    lr: float = setting(0.1, "Learning rate.", above=0)
    momentum: float = setting(0.9, "Momentum of sgd, nesterov and muon.", at_least=0)
    weight_decay: float = setting(0.0, "Weight decay.", at_least=0)
    schedule: str = choice("constant", "cosine", "step", default="constant", help="Course of the learning rate.")
    warmup: float = setting(0.0, "Share of all steps spent on a linear warm-up.", at_least=0, at_most=1)
    milestones: list[float] = setting(
        [], "Shares of all steps at which a step schedule multiplies the rate by gamma.", at_least=0, at_most=1
    )
    gamma: float = setting(0.1, "Factor of a step schedule.", at_least=0)
    epochs: int = setting(10, "Passes over the training rows.", at_least=1)
    batch_size: int = setting(128, "Rows of a step, over all ranks.", at_least=1)
    shuffle: bool = setting(True, "Draw a new order of the rows in every epoch.")
    gradient_clip: float | None = setting(None, "Largest norm of a gradient; null does not clip.", at_least=0)
    attack: TrainingAttackConfig = field(default_factory=TrainingAttackConfig)


@dataclass
class PretrainConfig:
    """An earlier task on other classes of the same data set, whose weights a training starts from."""

    classes: list[int] | None = setting(
        None, "Classes of the earlier task; null: training starts from random weights.", at_least=0, distinct=True
    )
    per_class: int | None = setting(None, "Training rows of each class; null takes all.", at_least=1)
    epochs: int = setting(10, "Passes over its training rows.", at_least=1)
    lr: float = setting(0.1, "Learning rate.", above=0)
    seed: int = setting(
        0, "Every stream of the earlier training; all runs start from the one network that it gives.", at_least=0
    )


@dataclass
class SeedsConfig:
    """Named random streams of one run. A number holds a stream fixed, also one that equals ``seed``."""

    init: int | None = setting(None, "Initial weights; null follows seed.", at_least=0)
    order: int | None = setting(None, "Order of the rows; null follows seed.", at_least=0)
    augment: int | None = setting(None, "Augmentation; null follows seed.", at_least=0)
    dropout: int | None = setting(None, "Dropout masks; null follows seed.", at_least=0)


STREAMS = tuple(stream.name for stream in fields(SeedsConfig))


@dataclass(frozen=True)
class Streams:
    """The seed of each stream of one run: the stream's own number, or ``seed`` where the stream follows it."""

    init: int
    order: int
    augment: int
    dropout: int


@dataclass
class EnsembleConfig:
    """Which seeds train together under ``numerics.engine=ensemble``."""

    block: int = setting(20, "Seeds of one block: 0 to 19, 20 to 39, and so on.", at_least=1)
    varying: list[str] | None = choice(
        *STREAMS, default=None, help="Streams in which members differ; null: those that follow seed."
    )


@dataclass
class WeightsConfig:
    """Which weights the stages after training look at."""

    source: str = choice(
        "train",
        "init",
        "pretrained",
        "path",
        default="train",
        help="After training, as initialized, as downloaded, or of files that were trained elsewhere.",
    )
    step: int | None = setting(None, "A snapshot's step; null or -1 is the end of training.", at_least=-1)
    path: str | None = setting(
        None,
        "Files of trained weights, such as 'runs/seed{seed}.pt' or 'runs/{seed}/step{step}.pt'; nothing is trained "
        "then. {model.width} or any other setting may stand in it, and * for what varies.",
        files_if=("source", "path"),
    )
    entry: str | None = setting(
        None, "Entry of those files that holds the weights, such as ema_state_dict; null finds state_dict and the like."
    )
    allow: list[str] = choice(
        "missing",
        "unexpected",
        default=[],
        help="What those files may lack (it stays as initialized) or hold too much (it is left out).",
    )

    def __post_init__(self) -> None:
        """Take files of weights for their source, and -1, the last step in every list of steps, for null."""
        if self.source == "train" and self.path is not None:
            self.source = "path"
        if self.source in ("train", "path") and self.step == -1:
            self.step = None
