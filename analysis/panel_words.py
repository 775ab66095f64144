"""What a figure shows, in words, for those who cannot see it: axes, names and first, last or extreme values."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figure_data import Drawn, figure_rows, tick_names
from analysis.panels import groups, is_void

MOST = 6
"""Series, or names on an axis, of which a panel's words tell the values."""
_AUTOMATIC = ("line ", "point ", "bar ", "segment ", "area ", "matrix ")


def panel_words(figure: Figure, rows: Sequence[Drawn] | None = None) -> list[str]:
    """Say what each panel of a figure shows, those left out in which every number is 0.

    Parameters
    ----------
    figure : Figure
        A finished figure.
    rows : sequence of Drawn, optional
        Its numbers, where they are known already.

    Returns
    -------
    list of str
        One for each panel that :func:`analysis.panels.panel_svgs` renders.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> figure = Figure()
    >>> axes = figure.subplots()
    >>> _ = axes.plot([1, 2, 3], [0.9, 0.5, 0.25], label="seed 0"), axes.set(xlabel="epoch", ylabel="loss")
    >>> panel_words(figure)
    ['loss against epoch: seed 0 from 0.9 at 1 to 0.25 at 3']
    """
    known = figure_rows(figure) if rows is None else rows
    number = {id(axes): place for place, axes in enumerate(figure.axes, 1)}
    by_panel: dict[int, list[Drawn]] = {}
    for row in known:
        by_panel.setdefault(row.panel, []).append(row)
    found = []
    for group in groups(figure):
        if not is_void(group):
            across = getattr(group[0], "across", False)
            drawn = [axes for axes in group if getattr(axes, "_colorbar", None) is None]
            mine = [
                row
                for axes in drawn
                for row in by_panel.get(number[id(axes)], [])
                if row.kind != "line" or row.series not in _marks(axes)
            ]
            axis = group[0].yaxis if across else group[0].xaxis
            found.append(_words([_at_a_name(row, tick_names(axis), across) for row in mine], across))
    return found


def _marks(axes: Axes) -> set[str]:
    """Name the lines that mark a value across the panel, as :func:`figure_rows` calls them: they are no numbers."""
    found, unnamed = set(), 0
    for line in axes.lines:
        label = " ".join(str(line.get_label()).split())
        if not label or label.startswith("_"):
            unnamed += 1
            label = f"line {unnamed}"
        if line.get_transform() != axes.transData:
            found.add(label)
    return found


def _at_a_name(row: Drawn, ticks: Sequence[tuple[float, str]], across: bool) -> Drawn:
    """Put what stands beside a name on the axis, such as the dots of a group's runs, at that name."""
    place = row.y if across else row.x
    if not ticks or isinstance(place, str) or row.kind not in ("line", "point"):
        return row
    near, name = min(ticks, key=lambda tick: abs(tick[0] - place))
    if not abs(near - place) < 0.5:
        return row
    return replace(row, y=name) if across else replace(row, x=name)


def _words(rows: Sequence[Drawn], across: bool) -> str:
    if not rows:
        return ""
    first = rows[0]
    measured, along = (first.x_axis, first.y_axis) if across else (first.y_axis, first.x_axis)
    about = " against ".join(filter(None, (measured, along)))
    head = ", ".join(filter(None, (first.title, about)))
    values = "; ".join(_values(rows, across))
    return f"{head}: {values}" if head and values else head or values


def _values(rows: Sequence[Drawn], across: bool) -> Iterator[str]:
    """Tell the values of each named series, or of each name on an axis; of what has no name, the extremes."""
    series: dict[str, list[Drawn]] = {}
    for row in rows:
        if row.kind != "area":  # a band about a line that is told
            series.setdefault("" if row.series.startswith(_AUTOMATIC) else row.series, []).append(row)
    unnamed = series.pop("", [])
    for name, found in list(series.items())[:MOST]:
        yield f"{name} {_course(found, across)}"
    if len(series) > MOST:
        yield f"and {len(series) - MOST} more"
    if series and (lines := _lines(unnamed, across)):
        yield lines
    elif unnamed and not series:
        yield from _by_name(unnamed, across)


def _course(rows: Sequence[Drawn], across: bool) -> str:
    """Follow a series from its first value to its last."""
    told = [(place, value) for row in rows for place, value in [_measured(row, across)] if math.isfinite(value)]
    if not told:
        return "has no value"
    (start, one), (end, other) = told[0], told[-1]
    if len(told) == 1:
        return _number(one)
    if rows[0].kind in ("point", "matrix"):
        numbers = [value for _, value in told]
        return f"{len(told):,} from {_number(min(numbers))} to {_number(max(numbers))}"
    return f"from {_number(one)} at {_place(start)} to {_number(other)} at {_place(end)}"


def _by_name(rows: Sequence[Drawn], across: bool) -> Iterator[str]:
    """Tell the values at each name on the axis, such as a group of runs; without names, the extremes."""
    named: dict[str, list[float]] = {}
    every: list[float] = []
    for row in rows:
        place, value = _measured(row, across)
        if math.isfinite(value):
            every.append(value)
            if isinstance(place, str):
                named.setdefault(place, []).append(value)
    for name, values in list(named.items())[:MOST]:
        yield f"{name} {_span(values)}"
    if len(named) > MOST:
        yield f"and {len(named) - MOST} more"
    if not named and every:
        counted = f"{len(every):,} values, " if len(every) > 1 else ""
        yield _lines(rows, across) or f"{counted}{_span(every)}"


def _lines(rows: Sequence[Drawn], across: bool) -> str:
    """Follow lines without names, such as those of seeds, together; empty where there are no such lines."""
    lines: dict[str, list[tuple[float | str, float]]] = {}
    for row in rows:
        place, value = _measured(row, across)
        if row.kind == "line" and math.isfinite(value):
            lines.setdefault(row.series, []).append((place, value))
    ends = [(told[0], told[-1]) for told in lines.values() if len(told) > 1]
    if not ends or len({one[0] for one, _ in ends}) > 1:
        return ""
    (start, _), (end, _) = ends[0]
    first, last = _span([one[1] for one, _ in ends]), _span([other[1] for _, other in ends])
    return f"{len(ends)} line{'s' * (len(ends) > 1)}, {first} at {_place(start)} and {last} at {_place(end)}"


def _measured(row: Drawn, across: bool) -> tuple[float | str, float]:
    """Give where something stands, and its number: a height, a width where a panel measures across, or a color."""
    if row.kind == "matrix":
        return row.x, math.nan if row.value is None else row.value
    if row.kind == "bar":
        end = row.x_end if across else row.y_end
        return (row.y if across else row.x), math.nan if end is None else end
    value = row.x if across else row.y
    return (row.y if across else row.x), value if isinstance(value, float) else math.nan


def _span(values: Sequence[float]) -> str:
    low, high = min(values), max(values)
    return _number(low) if _number(low) == _number(high) else f"{_number(low)} to {_number(high)}"


def _place(place: float | str) -> str:
    return place if isinstance(place, str) else _number(place)


def _number(value: float) -> str:
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e6 else f"{value:.3g}"
