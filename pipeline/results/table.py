"""The tidy table of results: one row for every number, with the labels, settings and key of its artifact."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipeline.config.run import SelectConfig
from pipeline.engine.artifacts import Store
from pipeline.engine.graph import Node
from pipeline.engine.inventory.collections_wait import collections_wait
from pipeline.engine.inventory.inline import setting_lines
from pipeline.engine.inventory.record import Record
from pipeline.errors import UserError
from pipeline.machine.progress import say
from pipeline.results.chosen import ABSENT, OF_SEED, Chosen, choose
from pipeline.results.numbers import numbers_of

if TYPE_CHECKING:
    import pyarrow as pa

BEFORE, AFTER = ("stage",), ("table", "row", "entry", "quantity", "value", "key", "made")
"""Columns around those of labels and settings."""


def read_results(
    store: Store, target: Node | None = None, select: SelectConfig | None = None, *, tables: bool = True
) -> pa.Table:
    """Read every number of a store, or of a study, as one tidy table.

    Parameters
    ----------
    store : Store
        Where the artifacts lie; only their records and result tables are read.
    target : Node, optional
        A study's report (``graph.resolve("report", config)``), whose artifacts and labels are taken; without it,
        everything in the store.
    select : SelectConfig, optional
        Stages, times and settings.
    tables : bool
        Whether to read the artifacts' Parquet tables as well as their metrics.

    Returns
    -------
    pyarrow.Table
        A row per number. Columns: ``stage``; one for each axis of the study's cells; one for each setting that differs
        between artifacts of a stage, by its dotted name; ``table`` (``metrics``, or the table in which the number
        is), ``row`` and ``entry`` (which row of it, in numbers and words), ``quantity``, ``value``, ``key`` and
        ``made`` (a time with zone). ``.to_pandas()`` gives a DataFrame.

    Raises
    ------
    UserError
        If the selection names what does not exist.
    """
    return tidy(choose(store, target, select), tables=tables)


@collections_wait()
def tidy(chosen: Chosen, *, tables: bool = True) -> pa.Table:
    """Turn chosen artifacts into the table of :func:`read_results`."""
    import pyarrow as pa

    described = describe(chosen)
    axes = dict.fromkeys(axis for one in chosen.records for axis in free(chosen.labels.get(one.key, {})))
    names = [*axes, *sorted({name for words in described.values() for name in words} - axes.keys())]
    columns: dict[str, list[Any]] = {name: [] for name in (*BEFORE, *names, *AFTER)}
    for record in chosen.records:
        if record.problem:
            say(f"left out: {record.problem}")
            continue
        try:
            found = list(numbers_of(record, tables))
        except UserError as error:
            say(f"left out: {error}")
            continue
        count, words = len(found), described[record.address]
        columns["stage"] += [record.stage] * count
        for name in names:
            columns[name] += [words.get(name)] * count
        for place, name in enumerate(("table", "row", "entry", "quantity", "value")):
            columns[name] += [number[place] for number in found]
        columns["key"] += [record.key] * count
        columns["made"] += [made_at(record)] * count
    types = {"row": pa.int64(), "value": pa.float64(), "made": pa.timestamp("s", "UTC")}
    return pa.table({name: pa.array(values, types.get(name, pa.string())) for name, values in columns.items()})


def made_at(record: Record) -> datetime.datetime:
    """When an artifact was completed."""
    return datetime.datetime.fromtimestamp(int(record.made), datetime.UTC)


def describe(chosen: Chosen) -> dict[str, dict[str, str]]:
    """Say what distinguishes each artifact: labels of its cell, and settings that differ within a stage.

    An artifact has the settings of what it rests on as well: a kernel those of its network. A setting is left out where
    a label or an earlier setting says the same of every artifact.

    Parameters
    ----------
    chosen : Chosen
        The artifacts.

    Returns
    -------
    dict
        By ``stage/slug-key``, the words by axis or dotted name.
    """
    needed = {one.address: one for record in chosen.records for one in (record, *_everything_upstream(chosen, record))}
    differing = _differing(chosen, list(needed.values()))
    words: dict[str, dict[str, str]] = {}

    def settings(record: Record) -> dict[str, str]:
        if record.address not in words:
            found: dict[str, str] = {}
            for upstream in chosen.upstream(record):
                found |= settings(upstream)
            own, added = chosen.own_settings(record), chosen.first_values(record.stage)
            for name in differing.get(record.stage, ()):
                value = own.get(name, added.get(name, ABSENT))
                if value is not ABSENT:
                    found[name] = _in_words(value)
            words[record.address] = found
        return words[record.address]

    found = {record.address: settings(record) for record in chosen.records}
    labels = {record.address: free(chosen.labels.get(record.key, {})) for record in chosen.records}
    kept = _informative(found, labels)
    return {
        address: {**labels[address], **{name: value for name, value in found[address].items() if name in kept}}
        for address in found
    }


def _in_words(value: Any) -> str:
    if type(value) is int:
        return str(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _everything_upstream(chosen: Chosen, record: Record) -> list[Record]:
    found: dict[str, Record] = {}
    waiting = chosen.upstream(record)
    while waiting:
        one = waiting.pop()
        if one.address not in found:
            found[one.address] = one
            waiting += chosen.upstream(one)
    return list(found.values())


def _differing(chosen: Chosen, records: Sequence[Record]) -> dict[str, list[str]]:
    """Names of the settings that take several values within a stage, by stage."""
    texts: dict[str, dict[str, dict[str, Any]]] = {}
    for record in records:
        texts.setdefault(record.stage, {})[record.settings_text] = chosen.own_settings(record)
    found = {}
    for stage, settings in texts.items():
        added = chosen.first_values(stage)
        values: dict[str, set[str]] = {}
        lines = {line for text in settings for line in setting_lines(text)}  # most are those of thousands
        for name, value in map(chosen.setting, lines):
            values.setdefault(name, set()).add(value if isinstance(value, str) else repr(value))
        for name in values.keys() & added.keys():
            if any(name not in own for own in settings.values()):
                first = added[name]
                values[name].add(first if isinstance(first, str) else repr(first))
        found[stage] = sorted(name for name, several in values.items() if len(several) > 1)
    return found


def free(labels: Mapping[str, str]) -> dict[str, str]:
    """Give labels by axis; an axis that has the name of a column of ours is preceded by ``cells.``."""
    return {f"cells.{axis}" if axis in (*BEFORE, *AFTER) else axis: label for axis, label in labels.items()}


def _informative(settings: Mapping[str, Mapping[str, str]], labels: Mapping[str, Mapping[str, str]]) -> set[str]:
    """Names of settings whose column no label and no earlier setting of the same section repeats."""
    axes = list(dict.fromkeys(axis for words in labels.values() for axis in words))
    of_labels = {axis: [labels[address].get(axis) for address in settings] for axis in axes}
    seen: dict[tuple[str, ...], str] = {}
    kept = set()
    for name in sorted({name for words in settings.values() for name in words}, key=lambda one: (one != OF_SEED, one)):
        column = [words.get(name) for words in settings.values()]
        told = any(all(a is None or a == b for a, b in zip(column, other, strict=True)) for other in of_labels.values())
        mark = (name.partition(".")[0], *map(str, column))
        if not told and mark not in seen:
            kept.add(name)
        seen.setdefault(mark, name)
    return kept
