"""The stage table: what each stage depends on, its VERSION and the function that runs it.

Raise a stage's version when its code changes the bytes that it makes, then run ``python -m pipeline.engine.freeze``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pipeline.config.run import RunConfig, SnapshotsConfig
from pipeline.config.training import PretrainConfig, SeedsConfig
from pipeline.engine.cells import with_seed
from pipeline.engine.seed_blocks import block_of

Needs = Callable[[RunConfig], dict[str, tuple[str, RunConfig]]]

SOURCE = ("data.name", "data.kind", "data.source")
"""Fields that decide the canonical rows, besides the source's own identity (archive, files, revision)."""
VIEW = (
    "data.class_names",
    "data.data_seed",
    "data.subset",
    "data.split",
    "data.text",
    "data.image",
    "data.poison",
    "data.drop",
    "data.keep",
    "data.allow_cross_data",
)
"""Fields that decide which of those rows a run sees, and how."""


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
        From a run's configuration to its upstream artefacts: role to (stage, configuration).
    identity : str or None
        ``module:function`` of further key material that the configuration does not hold.
    gathers : callable or None
        For a stage over all cells: from the configuration to the stages gathered.
    shared : callable
        From a run's configuration to the one that is common to all runs with the same artefact.
    """

    name: str
    function: str
    sections: tuple[str, ...]
    version: int = 1
    needs: Needs = lambda config: {}
    identity: str | None = None
    gathers: Callable[[RunConfig], list[str]] | None = None
    shared: Callable[[RunConfig], RunConfig] = lambda config: config


def _data(config: RunConfig) -> dict[str, tuple[str, RunConfig]]:
    return {"data": ("prepare", config)}


def _pretrained(config: RunConfig) -> dict[str, tuple[str, RunConfig]]:
    return {} if config.pretrain.classes is None else {"pretrained": ("pretrain", config)}


def pretraining_of(config: RunConfig) -> RunConfig:
    """Give the run of the earlier task that ``pretrain`` describes, one for all runs that start from it."""
    task = config.pretrain
    subset = dataclasses.replace(config.data.subset, classes=task.classes, per_class=task.per_class)
    return dataclasses.replace(
        config,
        seed=task.seed,
        seeds=SeedsConfig(task.seed, task.seed, task.seed, task.seed),
        data=dataclasses.replace(config.data, subset=subset),
        training=dataclasses.replace(config.training, epochs=task.epochs, lr=task.lr),
        numerics=dataclasses.replace(config.numerics, engine="lightning"),
        snapshots=SnapshotsConfig(),
        pretrain=PretrainConfig(),
    )


def _training(config: RunConfig) -> dict[str, tuple[str, RunConfig]]:
    together = {"ensemble": ("ensemble", config)} if config.numerics.engine == "ensemble" else {}
    return {**_data(config), **_pretrained(config), **together}


def weights_stage(config: RunConfig) -> str:
    """Name the stage whose artefact holds the weights that ``weights.source`` and ``weights.step`` ask for."""
    if config.weights.source == "train":
        return "train" if config.weights.step is None else "snapshots"
    return "initial"


def _weights(config: RunConfig) -> dict[str, tuple[str, RunConfig]]:
    if config.weights.source == "train" and config.weights.step is not None:
        snapshots = dataclasses.replace(
            config.snapshots, record=["weights"], schedule="steps", steps=[config.weights.step]
        )
        config = dataclasses.replace(config, snapshots=snapshots)
    return {"data": ("prepare", config), "weights": (weights_stage(config), config)}


def _regression(config: RunConfig) -> dict[str, tuple[str, RunConfig]]:
    if config.regression.task == "head":
        return {**_weights(config), "features": ("features", config)}
    return {**_data(config), "snapshots": ("snapshots", config)}


def _probes(config: RunConfig) -> dict[str, tuple[str, RunConfig]]:
    needs = {**_weights(config), "features": ("features", config)}
    if config.probes.history and config.weights.source == "train":
        needs["snapshots"] = ("snapshots", config)
    return needs


def _shift(config: RunConfig) -> dict[str, tuple[str, RunConfig]]:
    needs = {"data": ("prepare", config), "features": ("features", config)}
    trained = dataclasses.replace(config, weights=dataclasses.replace(config.weights, source="train", step=None))
    if "fine_tuned" in config.shift.rivals:
        needs["fine_tuned"] = ("train", trained)
    if "head_only" in config.shift.rivals:
        needs["head_only"] = (
            "train",
            dataclasses.replace(
                trained,
                model=dataclasses.replace(config.model, trainable="head"),  # type: ignore[call-arg]
                training=dataclasses.replace(config.training, lr=config.shift.head_lr),
            ),
        )
    if "random_weights" in config.shift.rivals:
        fresh = dataclasses.replace(config.model, reset=True)  # type: ignore[call-arg]
        weights = dataclasses.replace(config.weights, source="init", step=None)
        needs["random_weights"] = ("features", dataclasses.replace(config, model=fresh, weights=weights))
    return needs


def _on(**roles: str) -> Needs:
    return lambda config: {role: (stage, config) for role, stage in roles.items()}


def _spectra(config: RunConfig) -> dict[str, tuple[str, RunConfig]]:
    needs = {**_data(config), **_pretrained(config), "weights": ("train", config)}
    if {"spectra", "kernel"} & set(config.snapshots.record):
        needs["snapshots"] = ("snapshots", config)
    return needs


def _other_training(config: RunConfig) -> dict[str, tuple[str, RunConfig]]:
    return {"other": ("train", with_seed(config, config.adversarial.other))}


def _attributed(config: RunConfig) -> dict[str, tuple[str, RunConfig]]:
    """Weights along training for tracin, and the networks of other seeds for trak."""
    choice = config.attribution
    used = {choice.method, *choice.methods}
    needs = {}
    if "tracin" in used:
        schedule = dataclasses.replace(config.snapshots, record=["weights"], schedule="steps", steps=choice.checkpoints)
        needs["checkpoints"] = ("snapshots", dataclasses.replace(config, snapshots=schedule))
    if "trak" in used:
        needs |= {f"seed {seed}": ("train", with_seed(config, seed)) for seed in choice.other_seeds}
    return needs


def _merge(*parts: Needs) -> Needs:
    def needs(config: RunConfig) -> dict[str, tuple[str, RunConfig]]:
        merged: dict[str, tuple[str, RunConfig]] = {}
        for part in parts:
            merged.update(part(config))
        return merged

    return needs


_TABLE = (
    Stage("prepare", "pipeline.data.prepare:prepare", SOURCE, identity="pipeline.data:source_identity"),
    Stage(
        "ensemble",
        "pipeline.stages.train.ensemble:ensemble",
        (*VIEW, "model", "training", "seed", "seeds", "numerics", "ensemble"),
        needs=_merge(_data, _pretrained),
        shared=block_of,
    ),
    Stage(
        "pretrain",
        "pipeline.stages.train.run:train",
        (*VIEW, "model", "training", "seeds", "numerics"),
        needs=_data,
        shared=pretraining_of,
    ),
    Stage(
        "train", "pipeline.stages.train.run:train", (*VIEW, "model", "training", "seeds", "numerics"), needs=_training
    ),
    Stage(
        "initial",
        "pipeline.stages.train.run:initial",
        (*VIEW, "model", "seeds.init", "numerics", "weights.source"),
        needs=_merge(_data, _pretrained),
    ),
    Stage(
        "snapshots",
        "pipeline.stages.train.run:snapshots",
        ("snapshots",),
        version=5,
        needs=_merge(_data, _pretrained, _on(weights="train")),
    ),
    Stage(
        "features", "pipeline.stages.features.run:features", ("features", "weights.step", "numerics"), needs=_weights
    ),
    Stage(
        "kernel", "pipeline.stages.kernel.run:kernel", ("kernel", "weights.step", "numerics"), version=5, needs=_weights
    ),
    Stage(
        "layer_kernels",
        "pipeline.stages.layer_kernels.run:layer_kernels",
        ("kernel", "surrogate", "layer_kernels", "weights.step", "numerics"),
        version=4,
        needs=_weights,
    ),
    Stage(
        "surrogate",
        "pipeline.stages.surrogate.run:surrogate",
        ("surrogate",),
        needs=_merge(_weights, _on(kernel="kernel")),
    ),
    Stage(
        "attribution",
        "pipeline.stages.attribution.run:attribution",
        ("attribution",),
        version=4,
        needs=_merge(_weights, _on(kernel="kernel", surrogate="surrogate"), _attributed),
    ),
    Stage(
        "retraining",
        "pipeline.stages.retraining.run:retraining",
        ("retraining", "attribution"),
        needs=_merge(_weights, _on(kernel="kernel", surrogate="surrogate"), _attributed),
    ),
    Stage(
        "adversarial",
        "pipeline.stages.adversarial.run:adversarial",
        ("adversarial",),
        version=4,
        needs=_merge(_weights, _on(kernel="kernel", surrogate="surrogate"), _other_training),
    ),
    Stage("probes", "pipeline.stages.probes.run:probes", ("probes",), needs=_probes),
    Stage("regression", "pipeline.stages.regression.run:regression", ("regression", "numerics"), needs=_regression),
    Stage("shift", "pipeline.stages.shift.run:shift", ("shift",), needs=_shift),
    Stage(
        "spectra",
        "pipeline.stages.spectra.run:spectra",
        ("spectra",),
        version=2,
        needs=_spectra,
    ),
    Stage("toy", "pipeline.stages.toy.run:toy", ("toy", "numerics")),
    Stage(
        "statistics",
        "pipeline.stages.statistics.run:statistics",
        ("statistics", "experiment_name"),
        version=3,
        gathers=lambda config: ["train", "snapshots"] if config.statistics.history else ["train"],
    ),
    Stage(
        "report",
        "pipeline.reporting.page:report",
        ("report", "experiment_name", "wants"),
        version=2,
        gathers=lambda config: list(config.wants),
    ),
)

STAGES: dict[str, Stage] = {stage.name: stage for stage in _TABLE}


def load_function(spec: str) -> Callable[..., Any]:
    """Import ``module:function`` when it is needed, so that the table costs no heavy import."""
    from importlib import import_module

    module, name = spec.split(":")
    return getattr(import_module(module), name)
