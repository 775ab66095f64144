"""Where a mean over runs comes from among the numbers of kept cells, and the same mean computed from them again."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import permutations
from statistics import fmean
from typing import Any

from analysis.pages.estimate import Estimate
from pipeline.reporting.spoken import mean_within, with_unit
from pipeline.results.numbers import METRICS
from scripts.kept_cells import written
from scripts.kept_series import ROWS, TABLE, Known, Series, side_by_side


def _log10(value: float) -> float:
    return math.log10(value) if value > 0 else math.nan


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
    for one, other in side_by_side(fitting):
        for way, combine in PAIRS.items():
            if mark(combine(value, other.values[run]) for run, value in one.values.items()) == wanted:
                return one.place | {"way": way, "other": {"entry": other.entry, "quantity": other.quantity}}
    for one, other in _between_groups(fitting):
        for way in ("x", "100 x"):
            if mark(WAYS[way](one.values[run] - other.values[run]) for run in one.values) == wanted:
                return one.place | {"way": way, "minus": dict(other.labels)}
    return None


def _between_groups(series: Iterable[Series]) -> Iterator[tuple[Series, Series]]:
    """Yield pairs of one quantity in two groups of the same runs."""
    groups: dict[tuple[str, ...], list[Series]] = {}
    for one in series:
        if one.over != ROWS:
            groups.setdefault((one.stage, one.table, one.entry, one.quantity, one.over), []).append(one)
    for group in (group for group in groups.values() if 1 < len(group) <= MOST_GROUPS):
        for one, other in permutations(group, 2):
            if one.values.keys() == other.values.keys():
                yield one, other


def find_drawn(row: Mapping[str, Any], known: Known) -> dict[str, Any] | None:
    """Find the kept numbers whose mean and interval a row of a figure is, to the digits that it is written with.

    None where nothing fits, or several of other values do, unless one of these is a metric.
    """
    found: dict[Any, dict[str, Any]] = {}
    for one in known.stated:
        if draws(row, one.number):
            found.setdefault(mark([one.number["value"], one.number["low"], one.number["high"]]), dict(one.place))
    fitting = [one for one in known.series if len(one.values) == row["n"]]
    for one in fitting:
        for way in DRAWN:
            values = list(map(WAYS[way], one.values.values()))
            for within in (None, (-1.0, 1.0), (0.0, 1.0), (0.0, 100.0)):
                if within is None or within[0] <= min(values) <= max(values) <= within[1]:
                    fresh = stated(Estimate("", "", "", values, "runs", within))
                    if draws(row, fresh):
                        kept = None if within is None else list(within)
                        found.setdefault(mark(values), one.place | {"way": way, "within": kept})
    for one, other in _between_groups(fitting):
        for way in ("x", "100 x"):
            values = [WAYS[way](one.values[run] - other.values[run]) for run in one.values]
            if draws({"value": row["value"]}, {"value": fmean(values)}):
                if draws(row, stated(Estimate("", "", "", values, "runs", None))):
                    minus = {"way": way, "minus": dict(other.labels), "within": None}
                    found.setdefault(mark(values), one.place | minus)
    listed = list(found.values())
    if len(listed) > 1:  # metrics are of the end; a table may hold nearly the same numbers of steps before it
        listed = [place for place in listed if place["table"] == METRICS]
    return listed[0] if len(listed) == 1 else None


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
