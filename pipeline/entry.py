"""What ``run.py`` calls with a composed configuration. Imports no torch until a stage runs."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any

from pipeline.checks.commands import command_problems, unused_axes
from pipeline.checks.general import check
from pipeline.config.run import RunConfig
from pipeline.engine.artifacts import Artifact, Store
from pipeline.engine.cells import compose_run, without_hardware
from pipeline.engine.graph import Graph
from pipeline.engine.rebuild import SWEEP
from pipeline.engine.stages import COMMANDS, load_function
from pipeline.errors import UserError, storage_error
from pipeline.machine.cores import usable_cores, visible_gpus
from pipeline.machine.folders import folders_of, user_path
from pipeline.machine.progress import say
from pipeline.shown_text import holds_secret


def _refuse_secrets(config: RunConfig) -> None:
    """Refuse a password where it would become part of names, records and pages; a tracker's address may hold one."""
    settings = dataclasses.asdict(config)
    del settings["logging"]
    if (found := holds_secret(settings)) is not None:
        raise UserError(
            f"{found[0]} holds the value of the environment variable {found[1]}, and settings are stored and shown: "
            "leave it in the environment, where the services look for it."
        )


def _refuse_other_kernels() -> None:
    """Refuse to compute beside another publisher's package ``kernels``: whichever is found first hides the other."""
    try:
        version = metadata.version("kernels")
    except metadata.PackageNotFoundError:
        return
    raise UserError(
        f"The package 'kernels' {version} of another publisher (Hugging Face's has that name) is installed beside "
        "seedscope's own, and one hides the other: run `pip uninstall kernels`, or use an environment for each."
    )


def execute(config: RunConfig, overrides: Sequence[str], launcher: Mapping[str, Any] | None = None) -> Artifact | None:
    """Run one job: a command such as ``stage=status``, or the target stage and what it lacks upstream.

    Parameters
    ----------
    config : RunConfig
        The composed configuration.
    overrides : sequence of str
        The overrides that composed it, as typed.
    launcher : mapping, optional
        Hydra's launcher, whose jobs a cluster gets where ``hardware.cluster`` names one; without it, such as in a job
        of a sweep, everything is made here.

    Returns
    -------
    Artifact or None
        The finished artifact; None for a command that makes none, such as ``stage=status``, and where jobs were
        submitted.

    Raises
    ------
    UserError
        When the input is wrong.
    """
    _refuse_secrets(config)
    check(config)
    if ignored := list(command_problems(config, overrides)):
        raise UserError("\n".join(ignored))
    if (unused := unused_axes(config, overrides)) is not None:
        say(unused)
    try:
        return _execute(config, overrides, launcher)
    except OSError as error:  # such as a data file that this user may not read
        store = user_path(config.paths.store)
        if (plain := storage_error(error, store, folders_of(config))) is not None:
            raise plain from error
        raise


def _execute(config: RunConfig, overrides: Sequence[str], launcher: Mapping[str, Any] | None) -> Artifact | None:
    store, graph = Store(user_path(config.paths.store)), Graph(without_hardware(overrides, config), _checked)
    if config.stage in COMMANDS:
        load_function(COMMANDS[config.stage])(graph, store, config)
        return None
    _refuse_other_kernels()
    from pipeline.engine.executor import Puller
    from pipeline.engine.rebuild import Rebuild, typed_words

    # Outputs from files are brought for their report, so that asking for statistics makes the page as well.
    stage = "report" if config.data.source == "logits" and config.stage == "statistics" else config.stage
    target = graph.resolve(stage, config)
    if launcher is not None and config.hardware.cluster == "slurm":
        from pipeline.engine.schedule.slurm.jobs import plain_fields
        from pipeline.engine.schedule.slurm.submission import submit
        from pipeline.training.foresight import refuse_before_jobs

        refuse_before_jobs(target, store)
        if config.workers != "auto":
            say(
                f"workers={config.workers} is of a single machine and not used here: hydra.launcher.array_parallelism="
                f"{launcher.get('array_parallelism')} is how many jobs of an array run at the same time"
            )
        rebuild = Rebuild(typed_words(config.rebuild, overrides))
        if submit(target, graph, store, config, plain_fields(launcher), rebuild=rebuild, command=overrides):
            return None
    puller = Puller(
        store,
        graph,
        require=config.upstream == "require",
        allow_missing=config.allow_missing,
        rebuild=Rebuild(typed_words(config.rebuild, overrides)),
        workers=_workers(config),
    )
    artifact = puller.pull(target)
    page = artifact.folder / "report.html"
    say(f"done: {page if page.exists() else artifact.folder}")
    return artifact


def _workers(config: RunConfig) -> int:
    """Give how many artifacts are made at the same time: one in a job of a sweep, whose launcher runs jobs together.

    ``auto`` begins no more processes than the free memory holds libraries of.
    """
    from kernels.machine.memory import available_memory
    from pipeline.engine.schedule.estimates import PROCESS
    from pipeline.engine.schedule.worker_process import can_fork

    if config.workers != "auto":
        return int(config.workers)
    if SWEEP in os.environ or not can_fork():
        return 1
    ranks = config.numerics.world_size
    if config.numerics.device == "cuda":
        return max(1, len(visible_gpus()) // ranks)
    return max(1, min(usable_cores() // (config.numerics.threads * ranks), available_memory() // PROCESS))


def _checked(words: tuple[str, ...]) -> RunConfig:
    """Compose a cell and hold it to the rules of a command."""
    config = compose_run(words)
    check(config)
    return config
