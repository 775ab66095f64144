"""The stage table: for each stage its function, VERSION, address, upstream, section of the report, and ranks.

Raise a stage's version when its code changes the bytes that it makes, then run ``python -m pipeline.engine.freeze``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pipeline.config.run import RunConfig
from pipeline.engine import needs as of
from pipeline.engine.cells import with_seed
from pipeline.engine.seed_blocks import block_of
from pipeline.errors import UserError

SOURCE = ("data.name", "data.kind", "data.source", "data.columns", "data.read")
"""Fields that decide the canonical rows, besides the source's own identity (archive, files, revision)."""
_VIEW = "class_names data_seed subset split text image normalize poison drop keep allow_cross_data"
VIEW = tuple(f"data.{field}" for field in _VIEW.split())
"""Fields that decide which of those rows a run sees, and how."""
TRAINED = (*VIEW, "model", "training", "seeds", "numerics")
"""Fields that decide a trained network."""
REPLAYED = (*TRAINED, "kernel.n_test", "kernel.test_splits")
"""Fields that decide a training that is repeated with other weights of its rows, and where it is looked at."""
PUBLISHED = ("kind", "experiment", "overrides", "why", "unknown", "lacks")


@dataclass(frozen=True)
class Stage:
    """One row of the table.

    Attributes
    ----------
    name : str
        What users type after ``stage=``.
    function : str
        ``module:function``, imported when the stage runs; it takes a ``Build`` and returns metrics.
    sections : tuple of str
        Dotted sections of the configuration that enter the address.
    version : int
        Part of the address.
    needs : callable
        From a run's configuration to its upstream artifacts: role to (stage, configuration).
    identity : str or None
        ``module:function`` of further key material that the configuration does not hold.
    gathers : callable or None
        For a stage over all cells: from the configuration to the stages gathered.
    shared : callable
        From a run's configuration to the one that is common to all runs with the same artifact.
    instead : callable or None
        From a run's configuration to the stage that makes it: itself, or one that reads files made elsewhere.
    report : str or None
        ``module:function`` of the report's section on gathered artifacts; None for a stage that no report can show.
    headlines : tuple of str
        Names of the headlines that its section can have; one with too few runs is absent.
    foresees : str or None
        ``module:function`` of a configuration, rows and an untrained network, which refuses before anything is trained.
    on_ranks : bool
        Whether it shares its work between ``numerics.world_size`` ranks.
    makes : tuple of str
        Stages of which its function makes artifacts itself, in addition to its own and what it needs.
    """

    name: str
    function: str
    sections: tuple[str, ...]
    version: int = 1
    needs: of.Needs = lambda config: {}
    identity: str | None = None
    gathers: Callable[[RunConfig], list[str]] | None = None
    shared: Callable[[RunConfig], RunConfig] = lambda config: config
    instead: Callable[[RunConfig], str] | None = None
    report: str | None = None
    headlines: tuple[str, ...] = ()
    foresees: str | None = None
    on_ranks: bool = False
    makes: tuple[str, ...] = ()

    def __reduce__(self) -> tuple[Any, ...]:
        """Be pickled by name: a job of a cluster takes the row of its own table, if that has the same VERSION."""
        return _stage_named, (self.name, self.version)


def _stage_named(name: str, version: int) -> Stage:
    found = STAGES.get(name)
    if found is None or found.version != version:
        was = f"Stage {name} was VERSION {version} when this job was submitted, and the code has changed since"
        raise UserError(f"{was}: run the command that submitted it again.")
    return found


_TABLE = (
    Stage("prepare", "pipeline.data.prepare:prepare", SOURCE, identity="pipeline.data:source_identity"),
    Stage(
        "ensemble",
        "pipeline.stages.train.ensemble:ensemble",
        (*VIEW, "model", "training", "seed", "seeds", "numerics", "ensemble"),
        needs=of.merge(of.rows, of.pretrained),
        shared=block_of,
    ),
    Stage(
        "pretrain",
        "pipeline.stages.train.run:train",
        TRAINED,
        version=2,
        needs=of.rows,
        shared=of.pretraining_of,
    ),
    Stage(
        "train",
        "pipeline.stages.train.run:train",
        TRAINED,
        version=2,
        needs=of.for_training,
        instead=of.in_place_of_training,
        report="pipeline.stages.train.report:section",
        headlines=("accuracy",),
        on_ranks=True,
        makes=("snapshots",),
    ),
    Stage(
        "initial",
        "pipeline.stages.train.run:initial",
        (*VIEW, "model", "seeds.init", "numerics", "weights.source"),
        version=3,
        needs=of.merge(of.rows, of.pretrained),
    ),
    Stage(
        "snapshots",
        "pipeline.stages.train.run:snapshots",
        ("snapshots",),
        version=8,
        needs=of.merge(of.rows, of.pretrained, of.on(weights="train")),
        instead=of.in_place_of_snapshots,
        report="pipeline.stages.train.report_snapshots:section",
        headlines=("movement", "sharpness"),
        on_ranks=True,
    ),
    Stage(
        "checkpoint",
        "pipeline.stages.train.own_weights:checkpoint",
        (*VIEW, "model", "seeds.init", "numerics", "weights"),
        version=2,
        needs=of.rows,
        shared=of.with_own_weights,
    ),
    Stage(
        "checkpoint_steps",
        "pipeline.stages.train.own_weights:checkpoint_steps",
        ("snapshots", "numerics"),
        version=2,
        needs=of.along_training,
    ),
    Stage(
        "outputs",
        "pipeline.stages.train.own_outputs:outputs",
        ("data.name", "data.class_names", "data.path.outputs", "seed"),
        version=2,
        identity="pipeline.stages.train.own_outputs:outputs_identity",
        shared=of.with_own_outputs,
    ),
    Stage(
        "features",
        "pipeline.stages.features.run:features",
        ("features", "weights.step", "numerics"),
        needs=of.weights,
        report="pipeline.stages.features.report:section",
        headlines=("layers",),
        foresees="pipeline.stages.features.foreseen:foresee",
    ),
    Stage(
        "kernel",
        "pipeline.stages.kernel.run:kernel",
        ("kernel", "weights.step", "numerics"),
        version=10,
        needs=of.weights,
        report="pipeline.stages.kernel.report:section",
        headlines=("alignment",),
        foresees="pipeline.stages.kernel.foreseen:foresee",
        on_ranks=True,
    ),
    Stage(
        "layer_kernels",
        "pipeline.stages.layer_kernels.run:layer_kernels",
        ("kernel", "surrogate", "layer_kernels", "weights.step", "numerics"),
        version=7,
        needs=of.weights,
        report="pipeline.stages.layer_kernels.report:section",
        headlines=("accuracy",),
    ),
    Stage(
        "surrogate",
        "pipeline.stages.surrogate.run:surrogate",
        ("surrogate",),
        version=3,
        needs=of.merge(of.weights, of.on(kernel="kernel")),
        report="pipeline.stages.surrogate.report:section",
        headlines=("tau",),
        foresees="pipeline.stages.surrogate.foreseen:foresee",
    ),
    Stage(
        "attribution",
        "pipeline.stages.attribution.run:attribution",
        ("attribution",),
        version=6,
        needs=of.merge(of.weights, of.on(kernel="kernel", surrogate="surrogate"), of.attributed),
        report="pipeline.stages.attribution.report:section",
        headlines=("planted", "sparsity"),
        foresees="pipeline.stages.attribution.foreseen:foresee",
    ),
    Stage(
        "reruns",
        "pipeline.stages.reruns.run:reruns",
        (*REPLAYED, "kernel.n_train", "retraining.omitted", "retraining.omissions", "retraining.seed"),
        needs=of.merge(of.rows, of.pretrained),
    ),
    Stage(
        "retraining",
        "pipeline.stages.retraining.run:retraining",
        ("retraining", "attribution"),
        version=4,
        needs=of.merge(of.weights, of.on(kernel="kernel", surrogate="surrogate"), of.attributed, of.omissions),
        report="pipeline.stages.retraining.report:section",
        headlines=("prediction", "same_training", "dropping"),
        foresees="pipeline.stages.attribution.foreseen:foresee",
        makes=("train",),
    ),
    Stage(
        "derivatives",
        "pipeline.stages.derivatives.run:derivatives",
        REPLAYED,
        needs=of.merge(of.rows, of.pretrained),
    ),
    Stage(
        "spread",
        "pipeline.stages.spread.run:spread",
        (*REPLAYED, "spread"),
        version=2,
        needs=of.merge(of.rows, of.pretrained, of.derivatives),
        shared=lambda config: with_seed(config, 0),
        report="pipeline.stages.spread.report:section",
        headlines=("spread",),
        foresees="pipeline.stages.spread.foreseen:foresee",
    ),
    Stage(
        "adversarial",
        "pipeline.stages.adversarial.run:adversarial",
        ("adversarial",),
        version=6,
        needs=of.merge(of.weights, of.on(kernel="kernel", surrogate="surrogate"), of.other_training),
        report="pipeline.stages.adversarial.report:section",
        headlines=("agreement",),
    ),
    Stage(
        "barriers",
        "pipeline.stages.barriers.run:barriers",
        ("barriers",),
        needs=of.for_barriers,
        report="pipeline.stages.barriers.report:section",
        headlines=("barrier",),
        foresees="pipeline.stages.barriers.foreseen:foresee",
    ),
    Stage(
        "probes",
        "pipeline.stages.probes.run:probes",
        ("probes",),
        version=2,
        needs=of.for_probes,
        report="pipeline.stages.probes.report:section",
        headlines=("onset",),
        foresees="pipeline.stages.probes.foreseen:foresee",
    ),
    Stage(
        "regression",
        "pipeline.stages.regression.run:regression",
        ("regression", "numerics"),
        version=5,
        needs=of.for_regression,
        report="pipeline.stages.regression.report:section",
        headlines=("ratio", "gap", "refit"),
    ),
    Stage(
        "shift",
        "pipeline.stages.shift.run:shift",
        ("shift",),
        needs=of.for_shift,
        report="pipeline.stages.shift.report:section",
        headlines=("seen",),
    ),
    Stage(
        "spectra",
        "pipeline.stages.spectra.run:spectra",
        ("spectra",),
        version=4,
        needs=of.for_spectra,
        report="pipeline.stages.spectra.report:section",
        headlines=("distance", "alignment"),
        foresees="pipeline.stages.spectra.layers:foresee",
    ),
    Stage(
        "toy",
        "pipeline.stages.toy.run:toy",
        ("toy", "numerics"),
        version=3,
        report="pipeline.stages.toy.report:section",
        headlines=("change", "outliers", "size", "error"),
    ),
    Stage(
        "statistics",
        "pipeline.stages.statistics.run:statistics",
        ("statistics", "experiment_name"),
        version=6,
        gathers=lambda config: ["train", "snapshots"] if config.statistics.history else ["train"],
        report="pipeline.stages.statistics.report:section",
        headlines=("churn", "contrast", "seed_count"),
        foresees="pipeline.stages.statistics.foreseen:foresee",
    ),
    Stage(
        "report",
        "pipeline.reporting.page:report",
        ("report", "experiment_name", "wants", "tiny", *(f"published.{name}" for name in PUBLISHED)),
        version=10,
        gathers=lambda config: list(config.wants),
    ),
)

STAGES: dict[str, Stage] = {stage.name: stage for stage in _TABLE}

COMMANDS = {
    "status": "pipeline.engine.status:show_status",
    "results": "pipeline.results.commands:show_results",
    "list": "pipeline.results.commands:show_list",
    "diff": "pipeline.results.differences:show_differences",
    "browse": "pipeline.browse.commands:show_browser",
    "verify": "pipeline.upkeep.verify:verify_store",
    "gc": "pipeline.upkeep.leftovers:collect",
    "sync": "pipeline.tracking.sending:sync",
}
"""What else ``stage=`` takes: commands that make no artifact. Each is a function of graph, store and configuration."""


def load_function(spec: str) -> Callable[..., Any]:
    """Import ``module:function`` when it is needed, so that the table costs no heavy import."""
    from importlib import import_module

    module, name = spec.split(":")
    return getattr(import_module(module), name)
