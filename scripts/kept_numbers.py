"""The means over runs that a report states, each with the kept cells that it can be computed from again."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from analysis.pages.estimate import Estimate
from analysis.verdicts import Claim
from pipeline.config.run import RunConfig
from pipeline.engine.artifacts import Artifact, Store
from pipeline.engine.build import Gathered
from pipeline.engine.graph import Node
from pipeline.engine.stages import STAGES, load_function
from scripts.kept_cells import CELLS, cells_of, keep, plan_of, read_cell
from scripts.kept_sources import Known, find_drawn, find_source, stated


def estimates_of(config: RunConfig, target: Node, store: Store) -> Iterator[tuple[str, str, Estimate]]:
    """Yield every mean over runs that a study's page states: its stage, headline or claim, and what it is.

    Parameters
    ----------
    config : RunConfig
        Of the study.
    target : Node
        Its report, all of whose members are finished.
    store : Store
        Where they lie.
    """
    for stage in config.report.sections or config.wants:
        spec = STAGES[stage].report
        assert spec is not None
        members = [
            Gathered(one.labels, one.node.config, Artifact(store.folder(*one.node.address)), one.node.portably)
            for one in target.members[stage]
        ]
        section = load_function(spec)(members, config)
        for headline in section.headlines:
            for estimate in headline.estimates:
                yield stage, headline.name, estimate
        for claim in section.blocks:
            if isinstance(claim, Claim) and claim.decided.values:
                yield stage, claim.name, Estimate(claim.name, claim.statement, "", claim.decided.values, "units")


def keep_numbers(folder: Path, command: str, cells: Path = CELLS) -> dict[str, Any] | str:
    """Keep the cells of a finished report, and give the numbers that its page states.

    Parameters
    ----------
    folder : Path
        Of the report's artifact.
    command : str
        The command that made it.
    cells : Path
        Where cells are kept.

    Returns
    -------
    dict or str
        ``cells``, the names of the files, and ``numbers``; or why there are none.
    """
    words = [word for word in shlex.split(command)[2:] if not word.startswith(("stage=", "workers=", "rebuild="))]
    store = folder.absolute().parents[2]
    _, config, target, place = plan_of(words, store)
    if target.key != folder.name.rpartition("-")[2]:
        return (
            f"today's code gives this study the key {target.key}, and the report has "
            f"{folder.name.rpartition('-')[2]}: its numbers are not kept. Make it with today's code, or keep it from "
            "the code that made it."
        )
    experiment, found = cells_of(words, store)
    keep(experiment, found, cells)
    known = Known.of(list(found.values()))
    numbers = [
        {"stage": stage, "of": name, **stated(estimate), "source": find_source(estimate, known)}
        for stage, name, estimate in estimates_of(config, target, place)
    ]
    return {"cells": sorted(f"{experiment}/{name}" for name in found), "numbers": numbers}


def enter_sources(rows: Iterable[dict[str, Any]], names: Iterable[str], cells: Path = CELLS) -> None:
    """Note in rows of a figure which kept cells they are computed from, where that is found."""
    known = Known.of([read_cell(cells / name) for name in names])
    for row in rows:
        source = find_drawn(row, known)
        row.pop("source", None)
        if source is not None:
            row["source"] = source
