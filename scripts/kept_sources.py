"""Where a mean over runs comes from among the numbers of kept cells, and the same mean computed from them again."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

from analysis.pages.estimate import Estimate
from pipeline.reporting.spoken import mean_within, with_unit
from pipeline.results.numbers import METRICS
from scripts.kept_cells import written


def _log10(value: float) -> float:
    return math.log10(value) if value > 0 else math.nan


ROWS = "rows"
"""What varies in a series that is a column of one table."""
TABLE = "table"
"""What stands there where a table states mean and interval itself."""
SEEDS = "rows by seed"
"""What varies in a series of the rows that a table has of one step, each of its own seed."""
INDEX = "index"
"""What varies in a series that is a list among the metrics."""
WAYS: dict[str, Callable[[float], float]] = {
    "x": lambda x: x,
    "100 x": lambda x: 100.0 * x,
    "1 - x": lambda x: 1.0 - x,
    "100 (1 - x)": lambda x: 100.0 - 100.0 * x,
    "-x": lambda x: -x,
    "log10 x": _log10,
}
"""How a stated value may follow from a kept one."""
PAIRS: dict[str, Callable[[float, float], float]] = {
    "x - y": lambda x, y: x - y,
    "100 (x - y)": lambda x, y: 100.0 * (x - y),
    "log10 (x / y)": lambda x, y: _log10(x) - _log10(y),
}
"""How it may follow from two kept ones that stand in other rows or columns of the same table."""
DRAWN = ("x", "100 x", "1 - x", "100 (1 - x)", "-x")
"""Ways in which a row of a figure is looked for, which has fewer digits."""
DIGITS = 10
"""Significant digits to which values must agree."""
MOST_GROUPS = 40
"""Groups of one quantity up to which differences between two of them are looked through."""


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


def find_source(estimate: Estimate, known: Known) -> dict[str, Any] | None:
    """Find the kept numbers that an estimate is the mean of; None where they are not among them as they stand.

    Parameters
    ----------
    estimate : Estimate
        As a page states it.
    known : Known
        Of the cells that the page is about.

    Returns
    -------
    dict or None
        Place of the numbers, how values follow from them, and for a difference the labels of what is taken off.
    """
    wanted = mark(estimate.values)
    fitting = [one for one in known.series if len(one.values) == len(estimate.values)]
    if len(set(wanted)) == 1:  # equal values, such as zeros, stand in many places
        named = [
            one
            for one in fitting
            if one.quantity.replace("_", " ") in estimate.what and mark(one.values.values()) == wanted
        ]
        return named[0].place | {"way": "x"} if len(named) == 1 else None
    for one in fitting:
        for way, follow in WAYS.items():
            if mark(map(follow, one.values.values())) == wanted:
                return one.place | {"way": way}
    for one, other in _side_by_side(fitting):
        for way, combine in PAIRS.items():
            if mark(combine(value, other.values[run]) for run, value in one.values.items()) == wanted:
                return one.place | {"way": way, "other": {"entry": other.entry, "quantity": other.quantity}}
    groups: dict[tuple[str, ...], list[Series]] = {}
    for one in fitting:
        if one.over != ROWS:
            groups.setdefault((one.stage, one.table, one.entry, one.quantity, one.over), []).append(one)
    for group in (group for group in groups.values() if 1 < len(group) <= MOST_GROUPS):
        for one in group:
            for other in group:
                if one is not other and one.values.keys() == other.values.keys():
                    for way in ("x", "100 x"):
                        if mark(WAYS[way](one.values[run] - other.values[run]) for run in one.values) == wanted:
                            return one.place | {"way": way, "minus": dict(other.labels)}
    return None


def _side_by_side(series: Iterable[Series]) -> Iterator[tuple[Series, Series]]:
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


def find_drawn(row: Mapping[str, Any], known: Known) -> dict[str, Any] | None:
    """Find the kept numbers whose mean and interval a row of a figure is, to the digits that it is written with.

    None where nothing fits, or several of other values do.
    """
    found: dict[Any, dict[str, Any]] = {}
    for one in known.stated:
        if draws(row, one.number):
            found.setdefault(mark([one.number["value"], one.number["low"], one.number["high"]]), dict(one.place))
    for one in (one for one in known.series if len(one.values) == row["n"]):
        for way in DRAWN:
            values = list(map(WAYS[way], one.values.values()))
            for within in (None, (-1.0, 1.0), (0.0, 1.0), (0.0, 100.0)):
                if within is None or within[0] <= min(values) <= max(values) <= within[1]:
                    fresh = stated(Estimate("", "", "", values, "runs", within))
                    if draws(row, fresh):
                        kept = None if within is None else list(within)
                        found.setdefault(mark(values), one.place | {"way": way, "within": kept})
    return next(iter(found.values())) if len(found) == 1 else None


def draws(row: Mapping[str, Any], number: Mapping[str, Any]) -> bool:
    """Whether a row of a figure is a number, to the digits that the row is written with.

    Examples
    --------
    >>> number = {"value": 94.6, "low": 93.653, "high": 95.413, "n": 5}
    >>> draws({"value": 94.6, "low": 93.7, "high": 95.4, "n": 5}, number), draws({"value": 94.7, "n": 5}, number)
    (True, False)
    """
    for name in ("value", "low", "high", "n"):
        if name in row and not (name == "n" and number["n"] is None):
            decimals = len(f"{row[name]}".partition(".")[2])
            if number[name] is None or abs(row[name] - number[name]) > 0.5000001 * 10.0**-decimals:
                return False
    return True


def mark(values: Iterable[float]) -> tuple[str, ...]:
    """Write values so that two lists of the same numbers, up to rounding and order, are equal.

    Examples
    --------
    >>> mark([0.1 + 0.2, 0.1]) == mark([0.1, 0.3])
    True
    """
    return tuple(sorted(f"{value + 0.0:.{DIGITS}g}" for value in values))


def stated(estimate: Estimate) -> dict[str, Any]:
    """Write an estimate as results hold it: value, interval and n, and the words of the page."""
    mean, low, high = mean_within(estimate.values, estimate.within)
    spread = math.isfinite(low) and math.isfinite(high)
    return {
        "group": estimate.group,
        "what": estimate.what,
        "unit": estimate.unit,
        "n": len(estimate.values),
        "over": estimate.over,
        "value": mean,
        "low": low if spread else None,
        "high": high if spread else None,
        "within": None if estimate.within is None else [written(end) for end in estimate.within],
        "shown": with_unit(mean, low, high, estimate.unit),
    }


def again(number: Mapping[str, Any], known: Known) -> dict[str, Any] | None:
    """Compute a kept number from kept cells again; None where they lack what it rests on.

    Parameters
    ----------
    number : mapping
        With its ``source``, and what :func:`stated` says of it.
    known : Known
        Of the cells of its run.
    """
    source = number["source"]
    if source["over"] == TABLE:
        told = (one.number for one in known.stated if one.place == source)
        return next((dict(one) | {"shown": with_unit(one["value"], one["low"], one["high"])} for one in told), None)

    def values(changed: Mapping[str, Any]) -> Mapping[str, float] | None:
        place = {name: source[name] for name in ("stage", "table", "entry", "quantity", "over", "labels")} | changed
        return next((one.values for one in known.series if one.place == place), None)

    own = values({})
    other = values({"labels": source["minus"]} if "minus" in source else source.get("other", {}))
    if own is None or other is None or own.keys() != other.keys():
        return None
    if "other" in source:
        found = [PAIRS[source["way"]](value, other[run]) for run, value in own.items()]
    else:
        found = [WAYS[source["way"]](value - (other[run] if "minus" in source else 0.0)) for run, value in own.items()]
    limits = source.get("within", number.get("within"))
    within = None if limits is None else (float(limits[0]), float(limits[1]))
    words = {name: number.get(name, "") for name in ("group", "what", "unit", "over")}
    return stated(Estimate(**words, values=found, within=within))
