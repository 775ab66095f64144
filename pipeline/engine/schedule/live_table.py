"""The live table of a study: what is being made, how far it is, and how long the whole will take.

The command that makes a study draws it on its terminal, and ``stage=status watch=2`` draws it anywhere else.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.engine.artifacts import SCRATCH, partial_of
from pipeline.machine.progress import read_progress
from pipeline.shown_text import shown, visible

if TYPE_CHECKING:
    from rich.console import Group

MOST_ROWS = 30
"""Running artifacts that fit on a screen."""


@dataclass(frozen=True)
class Running:
    """An artifact that is being made.

    Attributes
    ----------
    stage, cell : str
        What it is.
    progress : str
        Epoch, tile, or the time so far.
    left : float or None
        Expected seconds until it is complete.
    place : str
        Machine and process or job; empty on this machine.
    """

    stage: str
    cell: str
    progress: str
    left: float | None
    place: str = ""


def running(stage: str, cell: str, folder: Path, since: float, expected: float | None, place: str = "") -> Running:
    """Look up how far an artifact is.

    Parameters
    ----------
    stage, cell, place : str
        As of :class:`Running`.
    folder : Path
        Its final folder, beside which it is under construction.
    since : float
        Seconds that it has taken so far.
    expected : float or None
        Seconds that it is expected to take.
    """
    note = read_progress(partial_of(folder) / SCRATCH)
    text = f"{note['text']}, {clock(since)}" if note else clock(since)
    left = None if expected is None else max(0.0, expected - since)
    if note and note["seconds_left"] is not None:
        left = max(0.0, note["seconds_left"] - (time.time() - note["written"]))
    return Running(stage, cell, text, left, place)


def live_table(
    rows: Sequence[Running], counts: Mapping[str, int], left: float | None, so_far: float | None, note: str = ""
) -> Group:
    """Draw the table.

    Parameters
    ----------
    rows : sequence of Running
        What is being made.
    counts : mapping
        State to number of artifacts; what is zero is left out, but for done, running and waiting.
    left, so_far : float or None
        Seconds of the whole study; None where unknown.
    note : str
        What the command itself does now.
    """
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(title_justify="left")
    places = any(row.place for row in rows)
    for heading in ("stage", "cell", "progress", "left", *(["where"] if places else [])):
        table.add_column(heading, no_wrap=heading not in ("cell", "where"), overflow="fold")
    for row in rows[:MOST_ROWS]:
        rest = "" if row.left is None else clock(row.left)
        cells: list[Any] = [row.stage, Text(visible(row.cell)), Text(shown(row.progress)), rest]
        table.add_row(*cells, *([Text(shown(row.place))] if places else []))
    if len(rows) > MOST_ROWS:
        table.add_row("", f"and {len(rows) - MOST_ROWS} more", "", "")
    words = [f"{count} {state}" for state, count in counts.items() if count or state in ("done", "running", "waiting")]
    times = [f"{clock(so_far)} so far"] if so_far is not None else []
    times += [f"about {clock(left)} left"] if left is not None else []
    below = "; ".join([", ".join(words), *([", ".join(times)] if times else [])])
    return Group(table, Text("\n".join(filter(None, [below, note]))))


def clock(seconds: float) -> str:
    """Write a time as ``2:05`` or ``1:02:05``.

    Examples
    --------
    >>> clock(125), clock(3725)
    ('2:05', '1:02:05')
    """
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
