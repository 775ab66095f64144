"""Schema of the whole configuration. Imports no torch: ``--help`` and ``stage=status`` stay fast."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from omegaconf import OmegaConf

from models.configs import MODEL_SCHEMAS, ModelConfig
from models.fields import choice, setting
from pipeline.config.adversarial import AdversarialConfig
from pipeline.config.attribution import AttributionConfig
from pipeline.config.data import DataConfig
from pipeline.config.features import FeaturesConfig
from pipeline.config.kernel import KernelConfig, LayerKernelsConfig
from pipeline.config.logging import LoggingConfig
from pipeline.config.numerics import HardwareConfig, NumericsConfig
from pipeline.config.probes import ProbesConfig
from pipeline.config.published import PublishedConfig
from pipeline.config.regression import RegressionConfig
from pipeline.config.retraining import RetrainingConfig, SpreadConfig
from pipeline.config.shift import ShiftConfig
from pipeline.config.snapshots import SnapshotsConfig
from pipeline.config.spectra import SpectraConfig
from pipeline.config.statistics import BarriersConfig, StatisticsConfig
from pipeline.config.surrogate import SurrogateConfig
from pipeline.config.toy import ToyConfig
from pipeline.config.training import (
    STREAMS,
    EnsembleConfig,
    PretrainConfig,
    SeedsConfig,
    Streams,
    TrainingConfig,
    WeightsConfig,
)
from pipeline.config.written_values import keep_names, keep_truth_values

if TYPE_CHECKING:
    from omegaconf import DictConfig

_SEED = re.compile(r"\$\{[^}]*\bseed\b")

# On import and not with the schemas: a cluster's job composes its configuration before it calls anything of ours.
keep_names()
keep_truth_values()


@dataclass
class PathsConfig:
    """Folders. Never part of an artifact's address."""

    store: str = setting("artifacts", "Folder of all artifacts.")
    cache: str = setting("data_cache", "Folder of downloaded archives.")
    scratch: str | None = setting(
        None, "Where checkpoints and finished tiles are kept until their artifact is complete; null: in the store."
    )


@dataclass
class ReportConfig:
    """What the report shows."""

    title: str = setting("Report", "Title of the page.")
    question: str = setting("", "The question that the report answers; empty: what its first headline answers.")
    answers: str = setting(
        "",
        "Whose headline answers the question: a stage, or one of its headlines as in statistics.seed_count; empty: the "
        "first stage after training.",
    )
    study: str = setting("", "The publication that it follows.")
    show_text: bool = setting(False, "Show texts of the data; off, because some hold names.")
    sections: list[str] = setting([], "Order of the sections by stage; empty: the stages in wants.", distinct=True)
    options: dict[str, Any] = setting(
        {},
        "Options of single sections: targets, order and equivalent of the surrogate section's claims.",
        keys=("targets", "order", "order_measure", "order_standing", "equivalent"),
    )


@dataclass
class SelectConfig:
    """Which artifacts stage=results, stage=list and stage=browse show. Never part of an artifact's address."""

    stages: list[str] = setting([], "Their stages; empty: all.", distinct=True)
    since: str | None = setting(
        None, "Made at this time or later: 2026-11-29, '2026-11-29 14:30', or how long ago: 30m, 12h, 7d, 2w."
    )
    until: str | None = setting(None, "Made at this time or earlier, written likewise; a day counts to its end.")
    where: dict[str, Any] = setting(
        {}, "Settings or labels that they have, as {training.lr: 0.05, seed: [3, 4]}; of a list, any one."
    )


@dataclass
class RunConfig:
    """One run (one cell) and, for gather stages, the grid of cells around it."""

    interpolates_seed: ClassVar[bool] = False
    """Whether a file or override says ``${seed}``, so that another seed changes more than ``seed``."""

    stage: str = setting(
        "report",
        "What to make, with all that it needs; status shows what is there, results its numbers, list when and how each "
        "artifact was made, diff what differs between two, browse writes a page over all of them, verify checks files, "
        "gc lists leftovers, sync sends what trackers missed.",
    )
    scale: str = choice(
        "small",
        "published",
        default="small",
        help="small: an experiment as its file sets it; published: with the overrides of its published setting.",
    )
    tiny: bool = setting(False, "Shrunk by debug=tiny: the report says so and decides nothing.")
    experiment_name: str = setting("single", "Name of the experiment; equals its file's name.")
    seed: int = setting(0, "Seed of the model; data and poison have their own.", at_least=0)
    upstream: str = choice(
        "make", "require", default="make", help="What is missing upstream: make it here, or list it and stop."
    )
    workers: str = setting(
        "auto",
        "Artifacts that are made at the same time on this machine: a number, or auto for as many as its cores divided "
        "by numerics.threads allow. The bytes are the same.",
    )
    allow_missing: int = setting(0, "Runs that a report may lack.", at_least=0)
    rebuild: list[str] = setting(
        [], "Keys of artifacts, or names of stages, to make again with everything of the run that rests on them."
    )
    cells: dict[str, Any] = setting({}, "Axes of the grid: name to lists of overrides; seed: 'start:stop'.")
    cells_limit: int | None = setting(None, "Entries taken of each axis; null takes all.", at_least=1)
    gc_delete: bool = setting(False, "stage=gc: delete what it lists; otherwise it only lists.")
    gc_finished: bool = setting(
        False, "stage=gc with gc_delete=true: also delete finished artifacts that nothing needs any more."
    )
    gc_thin: list[str] = setting(
        [], "stage=gc: also list artifacts of these stages that have served, such as kernels once surrogates are made."
    )
    out: str | None = setting(
        None,
        "stage=results, list and diff: file of the table, by its ending .csv, .parquet or .tex; null: the terminal. "
        "stage=browse: file of the page; null: browse.html in the store.",
    )
    between: list[str] = setting(
        [],
        "stage=diff: two artifacts, each a key, the first digits of one, or a folder; STORE/KEY is in another store.",
    )
    select: SelectConfig = field(default_factory=SelectConfig)
    watch: float | None = setting(
        None, "stage=status: seconds between two looks at the store, until all is done or failed.", above=0
    )
    serve: int | None = setting(
        None,
        "stage=browse: port of 127.0.0.1 at which the page is served and kept fresh; null: only write it.",
        at_least=1,
        at_most=65_535,
    )
    wants: list[str] = setting([], "Stages that the report gathers over all cells.", distinct=True)
    published: PublishedConfig = field(default_factory=PublishedConfig)
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
    spread: SpreadConfig = field(default_factory=SpreadConfig)
    adversarial: AdversarialConfig = field(default_factory=AdversarialConfig)
    barriers: BarriersConfig = field(default_factory=BarriersConfig)
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

    @property
    def streams(self) -> Streams:
        """The seed of each random stream."""
        own = {name: getattr(self.seeds, name) for name in STREAMS}
        return Streams(**{name: self.seed if value is None else value for name, value in own.items()})


def from_composed(composed: DictConfig) -> RunConfig:
    """Turn what Hydra composed into plain dataclasses."""
    config: RunConfig = OmegaConf.to_object(composed)  # type: ignore[assignment]
    if _SEED.search(str(OmegaConf.to_container(composed, resolve=False))):
        setattr(config, "interpolates_seed", True)  # noqa: B010
    return config


def register_schemas() -> None:
    """Hand the schemas to Hydra's ConfigStore; every YAML value is checked against them."""
    from hydra.core.config_store import ConfigStore

    # Hydra copies its repository, and with it every stored schema, once per config group: two seconds for
    # --help. The store hands out copies itself, so one shared store is enough.
    setattr(ConfigStore, "__deepcopy__", lambda self, memo: self)  # noqa: B010
    store = ConfigStore.instance()
    if "schema.yaml" in store.repo:
        return
    store.store(name="schema", node=_open_mappings(OmegaConf.structured(RunConfig)))
    for name, schema in MODEL_SCHEMAS.items():
        store.store(group="model", name=f"{name}_schema", node=_open_mappings(OmegaConf.structured(schema)))


def _open_mappings(section: DictConfig) -> DictConfig:
    """Let overrides add keys to the free mappings of a section: ``data.path.rename={img: image}`` needs no ``+``.

    What a mapping takes is checked where it is used.
    """
    for _, value in section.items_ex(resolve=False):
        if OmegaConf.is_dict(value):
            if OmegaConf.get_type(value) is dict:
                OmegaConf.set_struct(value, False)
            else:
                _open_mappings(value)
    return section
