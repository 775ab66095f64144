"""What ``run.py`` calls with a composed configuration. Imports no torch until a stage runs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from pipeline.artifacts import Artifact, Store
from pipeline.checks import check
from pipeline.graph import Graph
from pipeline.progress import say
from pipeline.schema import RunConfig

_RANK_VARIABLES = ("LOCAL_RANK", "RANK", "WORLD_SIZE", "NODE_RANK", "MASTER_ADDR", "MASTER_PORT")


def execute(config: RunConfig, overrides: Sequence[str], *, multirun: bool = False) -> Artifact | None:
    """Run one job: show the status, or make the target stage and what it lacks upstream.

    Parameters
    ----------
    config : RunConfig
        The composed configuration.
    overrides : sequence of str
        The overrides that composed it, as typed.
    multirun : bool
        Whether the job is one of a sweep.

    Returns
    -------
    Artifact or None
        The finished artefact; None for ``stage=status``.

    Raises
    ------
    UserError
        When the input is at fault.
    """
    check(config, multirun=multirun)
    store, graph = Store(Path(config.paths.store)), Graph(overrides)
    if config.stage == "status":
        from pipeline.status import show_status

        show_status(graph, store, config)
        return None
    from pipeline.pull import Puller

    puller = Puller(
        store,
        graph,
        require=config.upstream == "require",
        allow_missing=config.allow_missing,
        rebuild=set(config.rebuild),
    )
    try:
        artifact = puller.pull(graph.resolve(config.stage, config))
    finally:
        _forget_ranks()
    page = artifact.folder / "report.html"
    say(f"done: {page if page.exists() else artifact.folder}")
    return artifact


def _forget_ranks() -> None:
    """Drop rank variables that a trainer set: the next job of a sweep must not take itself for a rank."""
    if "SLURM_JOB_ID" in os.environ or "TORCHELASTIC_RUN_ID" in os.environ:
        return
    for name in _RANK_VARIABLES:
        os.environ.pop(name, None)
