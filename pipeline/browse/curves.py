"""Losses and scores by epoch of trainings that are finished or under way, thinned to what a screen can show."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.browse.rows import DONE, Rows
from pipeline.engine.inventory.record import Record
from pipeline.machine.scratch import SCRATCH
from pipeline.machine.side_files import read_plain

HISTORY = "history.csv"
_OF_MEMBER = re.compile(r"history-(-?\d+)\.csv")
_POSITION = ("epoch", "step", "lr")
_POINTS = 100
"""Epochs of a curve that are kept, evenly, the first and last among them."""
BUDGET = 400_000
"""Numbers of all curves of a page together: some ten thousand short trainings, or a thousand long ones."""

Curve = dict[str, Any]


def curves_of(rows: Rows, budget: int = BUDGET) -> tuple[list[Curve], int]:
    """Read the curves of the trainings of a page: first those under way, then the newest.

    Parameters
    ----------
    rows : Rows
        Of the page.
    budget : int
        Numbers at most.

    Returns
    -------
    curves : list of dict
        ``row``, ``name`` (a member's seed, where seeds train together), ``epochs``, and ``values`` by name.
    left_out : int
        Trainings beyond the budget.
    """
    order = sorted(range(len(rows.records)), key=lambda i: (rows.states[i] == DONE, -rows.records[i].made))
    found: list[Curve] = []
    left = budget
    left_out = 0
    for place in order:
        for name, text in _files(rows.records[place], rows.states[place]):
            if left <= 0:
                left_out += 1
                break
            curve = read_curve(text)
            if curve is not None:
                found.append({"row": place, "name": name, **curve})
                left -= len(curve["epochs"]) * (1 + len(curve["values"]))
    return found, left_out


def _files(record: Record, state: str) -> Iterator[tuple[str, str]]:
    """Yield the histories that a training has written, by the seed of the member where there are several."""
    if state == DONE:
        if '"epochs"' in record.metrics_text:
            yield from _read(record.folder / HISTORY, "")
        return
    scratch = record.folder / SCRATCH
    yield from _read(scratch / HISTORY, "")
    try:
        members = sorted((int(one[1]), path) for path in scratch.iterdir() if (one := _OF_MEMBER.fullmatch(path.name)))
    except OSError:
        return
    for seed, path in members:
        yield from _read(path, str(seed))


def _read(path: Path, name: str) -> Iterator[tuple[str, str]]:
    try:
        yield name, read_plain(path).decode("utf-8", "replace")
    except OSError:  # no training, an old one, or one that was finished or removed meanwhile
        return


def read_curve(text: str) -> Curve | None:
    r"""Read a history; None where it holds no epoch.

    Examples
    --------
    >>> read_curve("epoch,step,lr,train_loss,val_loss\n1,5,0.1,0.25,\n2,10,0.1,0.125,0.5\n")
    {'epochs': [1, 2], 'values': {'train_loss': [0.25, 0.125], 'val_loss': [None, 0.5]}}
    """
    lines = [row for row in csv.DictReader(io.StringIO(text)) if (row.get("epoch") or "").isdigit()]
    if not lines:
        return None
    if len(lines) > _POINTS:
        lines = [lines[round(i * (len(lines) - 1) / (_POINTS - 1))] for i in range(_POINTS)]
    names = [name for name in lines[0] if name and name not in _POSITION]
    return {
        "epochs": [int(row["epoch"]) for row in lines],
        "values": {name: [_number(row.get(name)) for row in lines] for name in names},
    }


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "nan")
    except ValueError:
        return None
    return float(f"{value:.5g}") if abs(value) < 1e308 else None
