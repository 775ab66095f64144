"""What each stage needs upstream, as a function of a run's configuration: role to (stage, configuration)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from pipeline.config.run import RunConfig, SnapshotsConfig
from pipeline.config.training import PretrainConfig, SeedsConfig
from pipeline.engine.cells import seed_list, with_seed
from pipeline.errors import UserError
from pipeline.machine.folders import named_files, run_file

Upstream = dict[str, tuple[str, RunConfig]]
Needs = Callable[[RunConfig], Upstream]


def rows(config: RunConfig) -> Upstream:
    """Need the prepared rows."""
    return {"data": ("prepare", config)}


def pretrained(config: RunConfig) -> Upstream:
    """Need the weights of the earlier task that ``pretrain`` describes, if any."""
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


def for_training(config: RunConfig) -> Upstream:
    """Need rows and pretrained weights, and the block of seeds under ``numerics.engine=ensemble``."""
    together = {"ensemble": ("ensemble", config)} if config.numerics.engine == "ensemble" else {}
    return {**rows(config), **pretrained(config), **together}


def weights_stage(config: RunConfig) -> str:
    """Name the stage whose artifact holds the weights that ``weights.source`` and ``weights.step`` ask for."""
    if config.weights.source == "train":
        return "train" if config.weights.step is None else "snapshots"
    return "checkpoint" if config.weights.source == "path" else "initial"


IN_PLACE = {"train": ("checkpoint", "outputs"), "snapshots": ("checkpoint_steps",)}
"""Stages that stand for another where networks or their outputs come from files."""


def in_place_of_training(config: RunConfig) -> str:
    """Name the stage that gives a run's network: its training, or the files of one that was trained elsewhere."""
    if config.data.source == "logits":
        return "outputs"
    return "checkpoint" if config.weights.source == "path" else "train"


def in_place_of_snapshots(config: RunConfig) -> str:
    """Name the stage that gives a run's network along its training."""
    return "checkpoint_steps" if config.weights.source == "path" else "snapshots"


def with_own_weights(config: RunConfig) -> RunConfig:
    """Give the run whose ``weights.path`` is the one file that it stands for here.

    Raises
    ------
    UserError
        If there is no such file.
    """
    chosen = config.weights
    if chosen.path is None:
        raise UserError("stage=checkpoint reads files of weights; set weights.path, such as 'runs/seed{seed}.pt'.")
    file = run_file("weights.path", chosen.path, config, chosen.step)
    return dataclasses.replace(config, weights=dataclasses.replace(chosen, path=str(file), step=None))


def with_own_outputs(config: RunConfig) -> RunConfig:
    """Give the run whose ``data.path.logits`` is the one file that it stands for here."""
    path = config.data.path
    if path.logits is None:
        raise UserError("data=logits reads files of outputs; set data.path.logits, such as 'runs/{seed}.npy'.")
    files = dataclasses.replace(path, logits=str(run_file("data.path.logits", path.logits, config)))
    if path.labels is not None:
        files.labels = str(run_file("data.path.labels", path.labels, config))
    return dataclasses.replace(config, data=dataclasses.replace(config.data, path=files))


def along_training(config: RunConfig) -> Upstream:
    """Need rows, and the network at every step that files or ``snapshots.steps`` name."""
    chosen = config.weights
    if chosen.path is None:
        raise UserError(
            "stage=checkpoint_steps reads files of weights; set weights.path, such as 'runs/step{step}.pt'."
        )
    there = [step for step in named_files("weights.path", chosen.path, config) if step is not None]
    wanted = config.snapshots.steps if config.snapshots.schedule == "steps" else there
    needs = rows(config)
    for step in sorted({there[-1] if step == -1 and there else step for step in wanted}):
        needs[f"step {step}"] = (
            "checkpoint",
            dataclasses.replace(config, weights=dataclasses.replace(chosen, step=step)),
        )
    return needs


def weights(config: RunConfig) -> Upstream:
    """Need rows, and the network at ``weights.source`` and ``weights.step``."""
    if config.weights.source == "train" and config.weights.step is not None:
        snapshots = dataclasses.replace(
            config.snapshots, record=["weights"], schedule="steps", steps=[config.weights.step]
        )
        config = dataclasses.replace(config, snapshots=snapshots)
    return {"data": ("prepare", config), "weights": (weights_stage(config), config)}


def for_regression(config: RunConfig) -> Upstream:
    """Need the features of one network for the task ``head``, the snapshots for the others."""
    if config.regression.task == "head":
        return {**weights(config), "features": ("features", config)}
    return {**rows(config), "snapshots": ("snapshots", config)}


def for_probes(config: RunConfig) -> Upstream:
    """Need the features of one network, and its snapshots for the history of collapse."""
    needs = {**weights(config), "features": ("features", config)}
    if config.probes.history and config.weights.source in ("train", "path"):
        needs["snapshots"] = ("snapshots", config)
    return needs


def for_shift(config: RunConfig) -> Upstream:
    """Need the features of one network, and of each rival that has another network."""
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
        untrained = dataclasses.replace(config.weights, source="init", step=None)
        needs["random_weights"] = ("features", dataclasses.replace(config, model=fresh, weights=untrained))
    return needs


def on(**roles: str) -> Needs:
    """Need one stage per role, under the run's own configuration."""
    return lambda config: {role: (stage, config) for role, stage in roles.items()}


def for_spectra(config: RunConfig) -> Upstream:
    """Need trained weights, and the snapshots where they hold spectra or kernels."""
    needs = {**rows(config), **pretrained(config), "weights": ("train", config)}
    if {"spectra", "kernel"} & set(config.snapshots.record):
        needs["snapshots"] = ("snapshots", config)
    return needs


def other_training(config: RunConfig) -> Upstream:
    """Need the network of another seed, to which adversarial examples are transferred."""
    return {"other": ("train", with_seed(config, config.adversarial.other))}


def partner_seed(config: RunConfig) -> int:
    """Seed of the network that a run's is joined to by a line: the one asked for, or the study's next, in a circle."""
    if config.barriers.other is not None:
        return config.barriers.other
    seeds = seed_list(config.cells["seed"])[: config.cells_limit] if "seed" in config.cells else []
    if config.seed not in seeds or len(seeds) < 2:
        return config.seed + 1
    return seeds[(seeds.index(config.seed) + 1) % len(seeds)]


def for_barriers(config: RunConfig) -> Upstream:
    """Need the networks of the run's own seed and of its partner, and the rows that they are evaluated on."""
    partner = with_seed(config, partner_seed(config))
    return {**rows(config), "weights": ("train", config), "other": ("train", partner)}


def attributed(config: RunConfig) -> Upstream:
    """Need weights along training for tracin, networks of other seeds for trak, and what a replay starts from."""
    choice = config.attribution
    used = {choice.method, *choice.methods}
    needs = {}
    if "tracin" in used:
        schedule = dataclasses.replace(config.snapshots, record=["weights"], schedule="steps", steps=choice.checkpoints)
        needs["checkpoints"] = ("snapshots", dataclasses.replace(config, snapshots=schedule))
    if "trak" in used:
        needs |= {f"seed {seed}": ("train", with_seed(config, seed)) for seed in choice.other_seeds}
    if {"magic", "source"} & used:
        needs |= pretrained(config)
    return needs


def omissions(config: RunConfig) -> Upstream:
    """Need the training repeated without parts of its rows, under the run's own seed and under those of retraining."""
    choice = config.retraining
    needs: Upstream = {}
    if choice.omitted:
        seeds = dict.fromkeys([config.seed, *range(choice.seeds)])
        needs = {f"reruns {seed}": ("reruns", with_seed(config, seed)) for seed in seeds}
    return {**needs, **pretrained(config)} if choice.top else needs


def derivatives(config: RunConfig) -> Upstream:
    """Need the derivatives through the trainings whose variance is attributed."""
    return {f"derivatives {seed}": ("derivatives", with_seed(config, seed)) for seed in range(config.spread.seeds)}


def merge(*parts: Needs) -> Needs:
    """Join several needs; of equal roles the last counts."""

    def needs(config: RunConfig) -> Upstream:
        merged: Upstream = {}
        for part in parts:
            merged.update(part(config))
        return merged

    return needs
