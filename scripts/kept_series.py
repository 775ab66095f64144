"""The numbers of kept cells as series over runs, and the means that tables of artifacts state themselves."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

from pipeline.results.numbers import METRICS

ROWS = "rows"
"""What varies in a series that is a column of one table."""
TABLE = "table"
"""What stands there where a table states mean and interval itself."""
SEEDS = "rows by seed"
"""What varies in a series of the rows that a table has of one step, each of its own seed."""
INDEX = "index"
"""What varies in a series that is a list among the metrics."""


@dataclass(frozen=True)
class Series:
    """One quantity of several runs.

    Attributes
    ----------
    stage, table, entry, quantity : str
        Where it stands in the artifacts of kept cells.
    labels : tuple of (str, str)
        What all of the runs share.
    over : str
        The axis of cells that varies, or ``rows``, ``rows by seed`` or ``index``.
    values : dict of str to float
        By the label that varies; by the number of the row.
    """

    stage: str
    table: str
    entry: str
    quantity: str
    labels: tuple[tuple[str, str], ...]
    over: str
    values: Mapping[str, float]

    @property
    def place(self) -> dict[str, Any]:
        """Say where it stands, without its values."""
        named = {"stage": self.stage, "table": self.table, "entry": self.entry, "quantity": self.quantity}
        return {**named, "labels": dict(self.labels), "over": self.over}


@dataclass(frozen=True)
class Stated:
    """A mean with its interval as a table of an artifact states it: statistics that no mean over cells gives.

    Attributes
    ----------
    place : dict
        Where it stands: stage, table, entry, the names of its columns, and labels of the artifact.
    number : dict
        Its value, low, high and n.
    """

    place: Mapping[str, Any]
    number: Mapping[str, Any]


@dataclass(frozen=True)
class Known:
    """What kept cells hold: series over runs, and means that tables state."""

    series: Sequence[Series]
    stated: Sequence[Stated]

    @classmethod
    def of(cls, cells: Sequence[Mapping[str, Any]]) -> Known:
        """Take it from cells."""
        return cls(series_of(cells), list(stated_in(cells)))


def stated_in(cells: Iterable[Mapping[str, Any]]) -> Iterator[Stated]:
    """Yield every mean with an interval that a row of a kept table states: columns ``churn``, its ends and ``runs``."""
    for entry in [entry for cell in cells for entry in cell["artifacts"]]:
        for table, rows in entry["numbers"].items():
            for row in rows if table != METRICS else ():
                yield from _stated_in(row, {"stage": entry["stage"], "table": table, "labels": entry["labels"]})


def _stated_in(row: Mapping[str, Any], place: Mapping[str, Any]) -> Iterator[Stated]:
    numbers = {name: value for name, value in row.items() if isinstance(value, (int, float))}
    runs = next((int(numbers[name]) for name in ("runs", "n") if name in numbers), None)
    for low in [name for name in numbers if name.endswith("low") and name[:-3] + "high" in numbers]:
        high = low[:-3] + "high"
        for name, value in numbers.items():
            if name.startswith(low[:-3].rstrip("_")) and name not in (low, high, "runs", "n"):
                if numbers[low] <= value <= numbers[high]:
                    columns = {"entry": row["entry"], "quantity": name, "low": low, "high": high, "over": TABLE}
                    number = {"value": value, "low": numbers[low], "high": numbers[high], "n": runs}
                    yield Stated({**place, **columns}, number)


def series_of(cells: Iterable[Mapping[str, Any]]) -> list[Series]:
    """List every quantity of kept cells that has several runs, metrics first."""
    found: dict[tuple[Any, ...], dict[str, float]] = {}
    for entry in [entry for cell in cells for entry in cell["artifacts"]]:
        labels = entry["labels"]
        for table, row, words, quantity, value in _numbers(entry["numbers"]):
            place = (entry["stage"], table, words, quantity)
            if row is None:
                for axis, label in labels.items():
                    shared = tuple(sorted((a, b) for a, b in labels.items() if a != axis))
                    found.setdefault((*place, shared, axis), {})[label] = value
            else:
                found.setdefault((*place, tuple(sorted(labels.items())), ROWS), {})[str(row)] = value
        for place, over, label, value in _within_one(entry):
            shared = tuple(sorted((a, b) for a, b in labels.items() if a != over))
            found.setdefault((*place, shared, over), {})[label] = value
    listed = [Series(*place, values) for place, values in found.items() if len(values) > 1]
    return sorted(listed, key=lambda one: one.table != METRICS)


def _numbers(tables: Mapping[str, Any]) -> Iterator[tuple[str, int | None, str, str, float]]:
    """Yield table, row, words, name and value; the row is None where its words are those of no other row."""
    for table, rows in tables.items():
        if table == METRICS:
            rows = [{"entry": "", **rows}]
        times: dict[str, int] = {}
        for row in rows:
            times[row["entry"]] = times.get(row["entry"], 0) + 1
        for place, row in enumerate(rows):
            for quantity, value in row.items():
                if quantity != "entry" and value is not None:
                    yield table, place if times[row["entry"]] > 1 else None, row["entry"], quantity, float(value)


def _within_one(entry: Mapping[str, Any]) -> Iterator[tuple[tuple[str, str, str, str], str, str, float]]:
    """Yield place, what varies, its label and value where one artifact has several seeds, or steps that cells share."""
    for name, value in entry["numbers"].get(METRICS, {}).items():
        if value is not None and (listed := re.fullmatch(r"(.+)\[(\d+)\]", name)):
            yield (entry["stage"], METRICS, "", listed[1]), INDEX, listed[2], float(value)
    for table, rows in entry["numbers"].items():
        at_step: dict[Any, list[Mapping[str, Any]]] = {}
        for row in rows if table != METRICS else ():
            at_step.setdefault(row.get("step"), []).append(row)
        for step, some in at_step.items():
            said = "" if step is None else f"step={step}"
            by_seed = all("seed" in row for row in some) and len({row["seed"] for row in some}) == len(some)
            by_words = step is not None and len({row["entry"] for row in some}) == len(some)
            for row in some:
                numbers = {key: value for key, value in row.items() if key not in ("entry", "seed", "step")}
                for quantity, value in numbers.items():
                    if value is not None and by_seed:
                        yield (entry["stage"], table, said, quantity), SEEDS, str(row["seed"]), float(value)
                    elif value is not None and by_words:
                        words = ", ".join(filter(None, (row["entry"], said)))
                        for axis, label in entry["labels"].items():
                            yield (entry["stage"], table, words, quantity), axis, label, float(value)


def side_by_side(series: Iterable[Series]) -> Iterator[tuple[Series, Series]]:
    """Yield pairs of one table, one choice of runs and one step: two rows of a column, or two columns of a row."""
    groups: dict[tuple[Any, ...], list[Series]] = {}
    for one in series:
        if one.over != ROWS:
            step = re.search(r"step=(\d+)$", one.entry)
            groups.setdefault((one.stage, one.table, one.labels, one.over, step and step[1]), []).append(one)
    for group in groups.values():
        for one, other in permutations(group, 2):
            same = (one.entry == other.entry) != (one.quantity == other.quantity)
            if same and one.values.keys() == other.values.keys():
                yield one, other
