"""Schema of the whole configuration. Imports no torch: ``--help`` and ``stage=status`` stay fast."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from models.configs import MODEL_SCHEMAS, ModelConfig
from pipeline.config.data import DataConfig
from pipeline.config.toy import ToyConfig
from pipeline.schema_analysis import (
    AdversarialConfig,
    AttributionConfig,
    FeaturesConfig,
    KernelConfig,
    LayerKernelsConfig,
    ProbesConfig,
    RegressionConfig,
    RetrainingConfig,
    ShiftConfig,
    SnapshotsConfig,
    SpectraConfig,
    StatisticsConfig,
    SurrogateConfig,
)


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
class NumericsConfig:
    """Everything about the machine's arithmetic that can change a bit of the result."""

    device: str = "cpu"
    threads: int = 1
    memory_format: str = "contiguous"
    precision: str = "32-true"
    deterministic: bool = True
    engine: str = "lightning"
    """lightning | ensemble."""
    world_size: int = 1
    """Ranks that share the training of one network (and its kernel): they change its bits."""
    batchnorm: str = "per_rank"
    """per_rank | sync: statistics of batch normalisation with several ranks; sync needs GPUs."""


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


@dataclass
class HardwareConfig:
    """Where jobs run. Never part of an artefact's address."""

    devices: int = 1
    """Devices of one job; equals ``numerics.world_size``."""
    tasks_per_node: int = 1
    """Ranks that a job starts on its node, one per device."""
    progress: bool = True


@dataclass
class LoggingConfig:
    """Trackers besides the CSV files, which are always written."""

    tracker: str = "csv"
    """csv | wandb | tensorboard | mlflow."""
    mode: str = "offline"
    """wandb: online | offline."""
    uri: str | None = None
    """mlflow: tracking server; null: the environment's MLFLOW_TRACKING_URI."""
    project: str = "seedscope"
    entity: str | None = None
    folder: str = "wandb"
    tags: list[str] = field(default_factory=list)


@dataclass
class PathsConfig:
    """Folders. Never part of an artefact's address."""

    store: str = "artifacts"
    cache: str = "data_cache"
    scratch: str | None = None
    """Where checkpoints and finished tiles lie until their artefact is complete; null: beside it, in the store."""


@dataclass
class ReportConfig:
    """What the report shows."""

    title: str = "Report"
    question: str = ""
    study: str = ""
    show_text: bool = False
    sections: list[str] = field(default_factory=list)
    """Order of the report's sections by stage; empty: the stages in ``wants``."""
    options: dict[str, Any] = field(default_factory=dict)


@dataclass
class RunConfig:
    """One run (one cell) and, for gather stages, the grid of cells around it."""

    stage: str = "report"
    experiment_name: str = "single"
    seed: int = 0
    upstream: str = "make"
    """make: build what is missing upstream here; require: list it and stop."""
    allow_missing: int = 0
    rebuild: list[str] = field(default_factory=list)
    """Keys of artefacts, or names of stages, to delete and make again."""
    cells: dict[str, Any] = field(default_factory=dict)
    cells_limit: int | None = None
    watch: float | None = None
    """With stage=status: seconds between two looks at the store, until everything is done or failed."""
    wants: list[str] = field(default_factory=list)
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    pretrain: PretrainConfig = field(default_factory=PretrainConfig)
    seeds: SeedsConfig = field(default_factory=SeedsConfig)
    numerics: NumericsConfig = field(default_factory=NumericsConfig)
    ensemble: EnsembleConfig = field(default_factory=EnsembleConfig)
    weights: WeightsConfig = field(default_factory=WeightsConfig)
    snapshots: SnapshotsConfig = field(default_factory=SnapshotsConfig)
    features: FeaturesConfig = field(default_factory=FeaturesConfig)
    kernel: KernelConfig = field(default_factory=KernelConfig)
    layer_kernels: LayerKernelsConfig = field(default_factory=LayerKernelsConfig)
    surrogate: SurrogateConfig = field(default_factory=SurrogateConfig)
    attribution: AttributionConfig = field(default_factory=AttributionConfig)
    retraining: RetrainingConfig = field(default_factory=RetrainingConfig)
    adversarial: AdversarialConfig = field(default_factory=AdversarialConfig)
    probes: ProbesConfig = field(default_factory=ProbesConfig)
    regression: RegressionConfig = field(default_factory=RegressionConfig)
    spectra: SpectraConfig = field(default_factory=SpectraConfig)
    toy: ToyConfig = field(default_factory=ToyConfig)
    statistics: StatisticsConfig = field(default_factory=StatisticsConfig)
    shift: ShiftConfig = field(default_factory=ShiftConfig)
    report: ReportConfig = field(default_factory=ReportConfig)
    hardware: HardwareConfig = field(default_factory=HardwareConfig)
    logging: LoggingConfig = field(default_factory=LoggingConfig)
    paths: PathsConfig = field(default_factory=PathsConfig)


def register_schemas() -> None:
    """Hand the schemas to Hydra's ConfigStore; every YAML value is checked against them."""
    from hydra.core.config_store import ConfigStore

    # Hydra copies its repository, and with it every stored schema, once per config group: two seconds for
    # --help. The store hands out copies itself, so one shared store is enough.
    setattr(ConfigStore, "__deepcopy__", lambda self, memo: self)  # noqa: B010
    store = ConfigStore.instance()
    if "schema.yaml" in store.repo:
        return
    store.store(name="schema", node=RunConfig)
    for name, schema in MODEL_SCHEMAS.items():
        store.store(group="model", name=f"{name}_schema", node=schema)
