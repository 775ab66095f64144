"""Settings of a command, not of a run: refused where what is to be made does not read them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pipeline.config.run import RunConfig, SelectConfig
from pipeline.engine.stages import COMMANDS, STAGES


def command_problems(config: RunConfig, overrides: Sequence[str] = ()) -> Iterator[str]:
    """Yield what would be ignored: a rebuild where nothing is made, a deletion or a watch of another stage.

    Parameters
    ----------
    config : RunConfig
        The command's configuration; cells are not looked at.
    overrides : sequence of str
        The overrides as typed: what an experiment's file says of its report may stand there for every stage.

    Examples
    --------
    >>> list(command_problems(RunConfig(stage="status", rebuild=["train"])))
    ['rebuild=[train] makes artifacts again, and stage=status makes none; leave one of them out.']
    """
    stage = config.stage
    if config.rebuild and stage in COMMANDS:
        words = ",".join(map(str, config.rebuild))
        yield f"rebuild=[{words}] makes artifacts again, and stage={stage} makes none; leave one of them out."
    if config.gc_delete and stage != "gc":
        yield f"gc_delete=true deletes what stage=gc lists, and this is stage={stage}; set stage=gc, or leave it out."
    if config.gc_finished and (stage != "gc" or not config.gc_delete):
        yield "gc_finished=true says what stage=gc gc_delete=true deletes; set these, or leave it out."
    if config.gc_thin and stage != "gc":
        yield f"gc_thin={config.gc_thin} says what stage=gc lists, and this is stage={stage}; leave it out."
    if unknown := [name for name in config.gc_thin if name not in STAGES]:
        yield f"gc_thin: there is no stage {unknown[0]}; there are {', '.join(sorted(STAGES))}."
    if config.watch is not None and stage != "status":
        yield f"watch={config.watch:g} repeats stage=status, and this is stage={stage}; set that, or leave watch out."
    tables = ("results", "list", "diff")
    if config.out is not None and stage not in (*tables, "browse"):
        yield (
            f"out={config.out} takes the table of stage=results, list or diff, and this is stage={stage}; set one of "
            "these, or leave it out."
        )
    if config.serve is not None and stage != "browse":
        yield (
            f"serve={config.serve} keeps the page of stage=browse fresh, and this is stage={stage}; set that, or leave "
            "serve out."
        )
    if config.serve is not None and config.out is not None:
        yield f"out={config.out} writes the page of stage=browse, and serve={config.serve} shows it; leave one out."
    if config.between and stage != "diff":
        yield f"between names what stage=diff compares, and this is stage={stage}; set that, or leave it out."
    if config.select != SelectConfig() and stage not in (*tables[:2], "browse"):
        yield f"select says what stage=results and stage=list show, and this is stage={stage}; leave it out."
    if config.scale == "published" and "scale" not in typed_names(overrides):
        yield "scale=published works on the command line only, and here a file sets it; take it out there, and type it."
    if config.allow_missing and "allow_missing" in typed_names(overrides) and not gathers(stage):
        yield (
            f"allow_missing={config.allow_missing} lets a report go without some runs, and stage={stage} gathers none; "
            "leave one of them out."
        )


def unused_axes(config: RunConfig, overrides: Sequence[str]) -> str | None:
    """Say that axes which were typed are not followed, since one run is made; None where they are."""
    typed = [name for name in typed_names(overrides) if name.partition(".")[0] == "cells"]
    if not typed or not config.cells or config.stage not in STAGES or gathers(config.stage):
        return None
    return (
        f"stage={config.stage} makes one run, that of seed={config.seed}; all cells of {', '.join(typed)} are made by "
        f"stage=report 'wants=[{config.stage}]'"
    )


def gathers(stage: str) -> bool:
    """Whether a stage is made of the cells of a study."""
    return stage in STAGES and STAGES[stage].gathers is not None


def typed_names(overrides: Sequence[str]) -> list[str]:
    """Names of the settings in a command's overrides.

    Examples
    --------
    >>> typed_names(["++seed=3", "~cells", "cells.lr=[[a=1]]"])
    ['seed', 'cells', 'cells.lr']
    """
    return [word.lstrip("+~").partition("=")[0] for word in overrides if not word.startswith("-")]
