"""Why an artifact that is submitted again was not made: the error that it left, or the last line of its job's log."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.engine.artifacts import Store, partial_of
from pipeline.engine.graph import Node
from pipeline.engine.inventory.listing import Listing

_SHOWN = 6
_OUT_OF_MEMORY = re.compile(r"\boom[ _-]kill", re.IGNORECASE)
"""In what SLURM writes into the log of a job that needs more memory than it has."""


def why_not_made(nodes: Sequence[Node], store: Store, listing: Listing, logs: Mapping[str, Path]) -> list[str]:
    """Give a line for each artifact that was begun before, with the place of its log; few of many.

    Parameters
    ----------
    nodes : sequence of Node
        What is submitted.
    store : Store
        Where failed attempts left their errors.
    listing : Listing
        Which of them there are, so that ten thousand artifacts are no ten thousand looks at the disk.
    logs : mapping of str to Path
        Error logs of jobs that have ended, by the keys of their artifacts.
    """
    lines = []
    for node in nodes:
        place = listing.place(*node.address)
        if ".partial" not in place.beside:
            continue
        partial = partial_of(place.folder)
        name = f"{node.stage.name} {node.slug}-{node.key}"
        if failure := store.failure(place.folder):
            first = (failure["error"].strip().splitlines() or [""])[0]
            lines.append(f"failed before, and submitted again: {name}: {first}\n  log: {partial / 'logs'}")
        elif node.key in logs and (last := _last_line(logs[node.key])):
            more = ""
            if _OUT_OF_MEMORY.search(last):
                more = f". For more memory: hardware.resources.{node.stage.name}.mem_gb=..."
            lines.append(f"ended from outside, and submitted again: {name}: {last}{more}\n  log: {logs[node.key]}")
    more_lines = [f"  and {len(lines) - _SHOWN} more that failed before"] if len(lines) > _SHOWN else []
    return [*lines[:_SHOWN], *more_lines]


def _last_line(log: Path) -> str:
    """Read what SLURM or the job said at last; of a job that was out of memory, that."""
    try:
        text = log.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return next((line for line in reversed(lines) if _OUT_OF_MEMORY.search(line)), lines[-1] if lines else "")
