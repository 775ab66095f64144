"""What the page holds, as columns of plain values: rows, numbers, groups, settings and curves."""

from __future__ import annotations

import json
import math
import os
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pipeline.browse.curves import curves_of
from pipeline.browse.groups import groups_of, interval
from pipeline.browse.rows import STATES, Rows
from pipeline.engine.inventory.record import Record
from pipeline.engine.stages import STAGES
from pipeline.errors import UserError
from pipeline.results.differences import inputs_by_stage
from pipeline.results.numbers import numbers_of, scalars
from pipeline.results.table import describe, free
from pipeline.shown_text import shown, visible

_WITH_TABLES = 2000
"""Artifacts up to which numbers in their tables are on the page as well as their metrics."""
_MOST_NUMBERS = 200
"""Numbers of one artifact; tables of one that has more are left to ``stage=results``."""
PAGE_OF = "report.html"
Contents = dict[str, Any]


class Pool:
    """Distinct values, each written once; others refer to their places."""

    def __init__(self) -> None:
        self.values: list[str] = []
        self._places: dict[str, int] = {}

    def place(self, value: str) -> int:
        """Give the place of a value."""
        if value not in self._places:
            self._places[value] = len(self.values)
            self.values.append(value)
        return self._places[value]


def contents_of(rows: Rows, root: Path, page: Path | None) -> Contents:
    """Collect everything that the page shows.

    Parameters
    ----------
    rows : Rows
        Of the page.
    root : Path
        The store.
    page : Path or None
        Where the page will lie, from which links lead; None for a page that is served, which has them below ``files/``.

    Returns
    -------
    dict
        JSON-ready: ``main`` is what the page opens with, ``details`` and ``curves`` are read when they are asked for.
    """
    described = describe(rows.chosen)
    stages = list(dict.fromkeys(record.stage for record in rows.records))
    places = {record.address: i for i, record in enumerate(rows.records)}
    numbers = _numbers(rows, stages)
    main = {
        "store": visible(str(root)),
        "made": int(time.time()),
        "live": page is None,
        "stages": stages,
        "gathers": [name for name in stages if name in STAGES and STAGES[name].gathers is not None],
        "states": list(STATES),
        "notes": {str(place): note for place, note in rows.notes.items()},
        "rows": _rows(rows, stages, described),
        "numbers": numbers,
        "groups": _groups(rows, stages, described, numbers),
        "links": _links(rows, root, page),
    }
    curves, left_out = curves_of(rows)
    return {"main": main, "details": _details(rows, places), "curves": {"curves": curves, "left_out": left_out}}


def _rows(rows: Rows, stages: list[str], described: Mapping[str, Mapping[str, str]]) -> Contents:
    records = rows.records
    studies, labels = Pool(), Pool()
    axes = dict.fromkeys(axis for one in records for axis in free(rows.chosen.labels.get(one.key, {})))
    names = [*axes, *sorted({name for words in described.values() for name in words} - axes.keys())]
    words = {
        name: [labels.place(visible(own[name])) if name in (own := described[one.address]) else -1 for one in records]
        for name in names
    }
    return {
        "stage": [stages.index(one.stage) for one in records],
        "state": [STATES.index(state) for state in rows.states],
        "study": [[studies.place(name) for name in own] for own in rows.studies],
        "slug": [visible(one.name[:-13]) for one in records],
        "key": [one.key for one in records],
        "made": [int(one.made) for one in records],
        "bytes": [one.size for one in records],
        "seconds": [_seconds(one) for one in records],
        "problem": {str(i): shown(one.problem) for i, one in enumerate(records) if one.problem},
        "studies": studies.values,
        "labels": labels.values,
        "names": names,
        "axes": len(axes),
        "words": list(words.values()),
    }


def _seconds(record: Record) -> float | None:
    value = record.provenance.get("wall_seconds")
    return round(float(value), 1) if isinstance(value, (int, float)) else None


def _numbers(rows: Rows, stages: list[str]) -> list[Contents]:
    """Of each stage: the rows that it has, the names of their numbers, and a column for each name."""
    tables = len(rows.records) <= _WITH_TABLES
    by_stage: list[Contents] = [{"rows": [], "names": [], "columns": []} for _ in stages]
    found: list[dict[str, list[float | None]]] = [{} for _ in stages]
    for i, record in enumerate(rows.records):
        stage = stages.index(record.stage)
        place = len(by_stage[stage]["rows"])
        by_stage[stage]["rows"].append(i)
        for name, value in _of(record, tables).items():
            column = found[stage].setdefault(visible(name), [])
            column += [None] * (place - len(column))
            column.append(value)
    for stage, columns in enumerate(found):
        count = len(by_stage[stage]["rows"])
        by_stage[stage]["names"] = list(columns)
        by_stage[stage]["columns"] = [
            [_plain(value) for value in column + [None] * (count - len(column))] for column in columns.values()
        ]
    return by_stage


def _of(record: Record, tables: bool) -> dict[str, float]:
    """Numbers of an artifact, by names that say in which table and row those of tables are."""
    if record.problem:
        return {}
    own = dict(scalars(record.metrics))
    if not tables or not record.tables or record.stage == "prepare":
        return own
    try:
        for number in numbers_of(record):
            if number.row is not None:
                words = f" ({number.entry})" if number.entry else ""
                own[f"{number.table}[{number.row}]{words} {number.quantity}"] = number.value
                if len(own) > _MOST_NUMBERS:
                    return dict(scalars(record.metrics))
    except UserError:
        return dict(scalars(record.metrics))
    return own


def _plain(value: float | None) -> float | str | None:
    """Write a number as JSON can: shortest exact form, whole numbers without a point."""
    if value is None:
        return None
    if not math.isfinite(value):
        return str(value)
    return int(value) if value.is_integer() and abs(value) < 1e15 else value


def _groups(
    rows: Rows, stages: list[str], described: Mapping[str, Mapping[str, str]], numbers: list[Contents]
) -> list[Contents]:
    """Of each group: stage, words, rows, and by number n, mean, deviation, interval and why that is lacking."""
    at = {row: (stage, place) for stage, own in enumerate(numbers) for place, row in enumerate(own["rows"])}
    made = []
    for group in groups_of(rows, described):
        own = numbers[stages.index(group.stage)]
        places = [at[row][1] for row in group.rows]
        summary = {}
        for name, column in enumerate(own["columns"]):
            values = [float(value) for place in places if (value := column[place]) is not None]
            if values:
                n, *ends, why = interval(own["names"][name], values, group.crossed)
                summary[str(name)] = [n, *(_rounded(end) for end in ends), why]
        words = {visible(name): visible(value) for name, value in group.words.items()}
        made.append({"stage": stages.index(group.stage), "words": words, "rows": group.rows, "summary": summary})
    return made


def _rounded(value: float) -> float | None:
    return float(f"{value:.8g}") if math.isfinite(value) else None


def _links(rows: Rows, root: Path, page: Path | None) -> Contents:
    """Where folders lie, seen from the page, and which of them hold a report."""
    base = root.absolute() if page is None else page.absolute().parent
    folders = []
    for record in rows.records:
        place = os.path.relpath(os.path.abspath(record.path), base)
        folders.append(quote(("files/" if page is None else "") + place.replace(os.sep, "/"), errors="surrogateescape"))
    reports = [
        i
        for i, record in enumerate(rows.records)
        if record.stage == "report" and rows.states[i] == "done" and (record.folder / PAGE_OF).is_file()
    ]
    return {"folders": folders, "reports": reports}


def _details(rows: Rows, places: Mapping[str, int]) -> Contents:
    """Give settings as differences from the most common ones of their stage, inputs, commands and origins."""
    names, values, texts = Pool(), Pool(), Pool()
    chosen = rows.chosen
    own: list[dict[int, int]] = []
    for record in rows.records:
        settings = {} if record.problem else chosen.first_values(record.stage) | chosen.own_settings(record)
        own.append({names.place(visible(name)): values.place(_text(value)) for name, value in settings.items()})
    common: dict[str, dict[int, int]] = {}
    for stage in dict.fromkeys(record.stage for record in rows.records):
        of_stage = [one for one, record in zip(own, rows.records, strict=True) if record.stage == stage]
        counts: dict[int, Counter[int]] = {}
        for one in of_stage:
            for name, value in one.items():
                counts.setdefault(name, Counter())[value] += 1
        common[stage] = {name: counter.most_common(1)[0][0] for name, counter in counts.items()}
    return {
        "names": names.values,
        "values": values.values,
        "texts": texts.values,
        "common": {stage: _flat(settings.items()) for stage, settings in common.items()},
        "settings": [_difference(common[r.stage], one) for one, r in zip(own, rows.records, strict=True)],
        "upstream": [[places[up.address] for up in chosen.upstream(r) if up.address in places] for r in rows.records],
        "inputs": [texts.place(json.dumps(inputs_by_stage(record))) for record in rows.records],
        "command": [texts.place(shown(record.command)) for record in rows.records],
        "version": [record.version for record in rows.records],
        "payload": [record.payload[:12] for record in rows.records],
        "commit": [texts.place(str(record.provenance.get("commit") or "")[:7]) for record in rows.records],
        "host": [texts.place(visible(str(record.provenance.get("host") or ""))) for record in rows.records],
    }


def _text(value: Any) -> str:
    return visible(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def _flat(pairs: Iterable[tuple[int, int]]) -> list[int]:
    return [part for pair in pairs for part in pair]


def _difference(common: Mapping[int, int], own: Mapping[int, int]) -> list[int]:
    """Pairs of name and value in which own settings differ from common ones; -1 for one that they lack."""
    differing = [(name, value) for name, value in own.items() if common.get(name) != value]
    return _flat([*differing, *((name, -1) for name in common if name not in own)])


def as_json(value: Any) -> str:
    r"""Write JSON for a script element: plain ASCII, and no mark that could end the element.

    Examples
    --------
    >>> as_json({"name": "</script>é"})
    '{"name":"\\u003c/script>\\u00e9"}'
    """
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c")
