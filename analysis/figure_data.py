"""The numbers that a figure draws, as one table: what a reader needs to draw it another way."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.category import StrCategoryFormatter
from matplotlib.collections import Collection, LineCollection, PathCollection, PolyCollection, QuadMesh
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedFormatter, FuncFormatter

_Ticks = list[tuple[float, str]]
_NUMBER = re.compile(r"[-+\u2212$\\^{}\d.,\s]*\d[-+\u2212$\\^{}\d.,\s]*(%|[a-zA-Z]{0,2}|\\mathdefault.*)")
"""A tick that is a number, perhaps with a unit."""
_MOST_PIXELS = 250_000
"""Of an image that is a matrix; a larger one, like a photograph, is no data of a figure."""


@dataclass(frozen=True)
class Drawn:
    """One point, bar, segment or matrix entry of a figure.

    Attributes
    ----------
    panel : int
        Number of the axes, from 1.
    title, x_axis, y_axis : str
        What they are called.
    series : str
        Name in the legend; else ``kind`` and a number.
    kind : str
        ``line``, ``point``, ``bar``, ``segment``, ``area`` or ``matrix``.
    x, y : float or str
        Position; of a bar the category or its left edge, and the end of its length.
    x_end, y_end : float or None
        The other end of a bar, segment or band.
    value : float or None
        What the color of a point or matrix entry stands for.
    """

    panel: int
    title: str
    x_axis: str
    y_axis: str
    series: str
    kind: str
    x: float | str
    y: float | str
    x_end: float | None = None
    y_end: float | None = None
    value: float | None = None


def figure_rows(figure: Figure) -> list[Drawn]:
    """List everything that a figure draws from numbers, panel by panel.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        A finished figure. Photographs and texts in it are left out.

    Returns
    -------
    list of Drawn
        In the order in which it was drawn.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> figure = Figure()
    >>> _ = figure.subplots().plot([0, 1], [2.0, 3.0], label="loss")
    >>> [(row.series, row.kind, row.x, row.y) for row in figure_rows(figure)]
    [('loss', 'line', 0.0, 2.0), ('loss', 'line', 1.0, 3.0)]
    """
    return [row for panel, axes in enumerate(figure.axes, 1) for row in _of_axes(panel, axes)]


def figure_csv(figure: Figure) -> str:
    """Write :func:`figure_rows` as CSV; empty where the figure draws no numbers.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> figure = Figure()
    >>> _ = figure.subplots().scatter([0.5], [1.5])
    >>> print(figure_csv(figure), end="")
    panel,title,x_axis,y_axis,series,kind,x,y,x_end,y_end,value
    1,,,,point 1,point,0.5,1.5,,,
    """
    return rows_csv(figure_rows(figure))


def rows_csv(rows: Sequence[Drawn]) -> str:
    """Write rows of :func:`figure_rows` as CSV; empty where there are none.

    Examples
    --------
    >>> rows_csv([])
    ''
    """
    if not rows:
        return ""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    names = [field.name for field in fields(Drawn)]
    writer.writerow(names)
    cells = attrgetter(*names)  # dataclasses.astuple copies every cell, which took a third of a report's time
    writer.writerows(["" if cell is None else cell for cell in cells(row)] for row in rows)
    return stream.getvalue()


def _of_axes(panel: int, axes: Axes) -> Iterator[Drawn]:
    title = " ".join(filter(None, (axes.get_title(loc=place) for place in ("left", "center", "right"))))
    about = (panel, _line(title), _line(axes.get_xlabel()), _line(axes.get_ylabel()))
    across, up, names = tick_names(axes.xaxis), tick_names(axes.yaxis), _bar_names(axes)
    number: dict[str, int] = {}

    def series(artist: Any, kind: str) -> str:
        label = str(artist.get_label())
        if label and not label.startswith("_"):
            return _line(label)
        number[kind] = number.get(kind, 0) + 1
        return f"{kind} {number[kind]}"

    for line in axes.lines:
        x, y = (np.asarray(line.get_data(orig=False)[place], dtype=float) for place in (0, 1))
        name = series(line, "line")
        for one, other in zip(np.broadcast_to(x, max(x.shape, y.shape)), y, strict=False):
            yield Drawn(*about, name, "line", _named(across, one), _named(up, other))
    for patch in axes.patches:
        if isinstance(patch, Rectangle):
            name = names.get(id(patch)) or series(patch, "bar")
            yield _bar(about, name, across, up, patch)
    for collection in axes.collections:
        yield from _of_collection(about, across, up, collection, series)
    for image in axes.images:
        yield from _of_image(about, image, series(image, "matrix"))


def _bar_names(axes: Axes) -> dict[int, str]:
    """Names in the legend of bars and steps, which belong to their container."""
    named = {}
    for container in axes.containers:
        label = str(container.get_label())
        if label and not label.startswith("_"):
            named.update({id(patch): _line(label) for patch in container if isinstance(patch, Rectangle)})
    return named


def _bar(about: tuple[int, str, str, str], name: str, across: _Ticks, up: _Ticks, bar: Rectangle) -> Drawn:
    x, y, width, height = bar.get_x(), bar.get_y(), bar.get_width(), bar.get_height()
    middle, center = _named(across, x + width / 2), _named(up, y + height / 2)
    return Drawn(
        *about,
        name,
        "bar",
        middle if isinstance(middle, str) else float(x),
        center if isinstance(center, str) else float(y),
        float(x + width),
        float(y + height),
    )


def _of_collection(
    about: tuple[int, str, str, str], across: _Ticks, up: _Ticks, found: Collection, series: Any
) -> Iterator[Drawn]:
    if isinstance(found, PathCollection):
        name, colors = series(found, "point"), found.get_array()
        values = None if colors is None else np.asarray(colors, dtype=float).ravel()
        for place, (x, y) in enumerate(np.ma.filled(found.get_offsets(), np.nan)):
            value = None if values is None or place >= values.size else float(values[place])
            yield Drawn(*about, name, "point", _named(across, x), _named(up, y), value=value)
    elif isinstance(found, LineCollection):
        name = series(found, "segment")
        for segment in found.get_segments():
            if len(segment):
                (x, y), (x_end, y_end) = segment[0], segment[-1]
                yield Drawn(*about, name, "segment", _named(across, x), _named(up, y), float(x_end), float(y_end))
    elif isinstance(found, QuadMesh):
        name, colors = series(found, "matrix"), found.get_array()
        if colors is not None:
            yield from _matrix(about, name, np.ma.filled(np.ma.asarray(colors, dtype=float), np.nan))
    elif isinstance(found, PolyCollection):
        name = series(found, "area")
        for path in found.get_paths():
            for x, y in np.asarray(path.vertices, dtype=float):
                yield Drawn(*about, name, "area", float(x), float(y))


def _of_image(about: tuple[int, str, str, str], image: AxesImage, name: str) -> Iterator[Drawn]:
    array = image.get_array()
    if array is not None and np.ndim(array) == 2 and np.size(array) <= _MOST_PIXELS:
        yield from _matrix(about, name, np.ma.filled(np.ma.asarray(array, dtype=float), np.nan))


def _matrix(about: tuple[int, str, str, str], name: str, values: Any) -> Iterator[Drawn]:
    for (row, column), value in np.ndenumerate(np.atleast_2d(values)):
        yield Drawn(*about, name, "matrix", float(column), float(row), value=float(value))


def _named(ticks: _Ticks, position: Any) -> float | str:
    """Position on an axis; the name of the tick there, where ticks are names."""
    where = float(position)
    return next((name for tick, name in ticks if abs(tick - where) < 1e-9), where)


def tick_names(axis: Any) -> _Ticks:
    """Ticks that are words, such as names of networks; none where one of them is a number."""
    formatter = axis.get_major_formatter()
    if not isinstance(formatter, (FixedFormatter, FuncFormatter, StrCategoryFormatter)):
        return []
    ticks = [float(tick) for tick in axis.get_majorticklocs()]
    names = [_line(str(name)) for name in formatter.format_ticks(ticks)]
    if any(_NUMBER.fullmatch(name) for name in names):
        return []
    return [(tick, name) for tick, name in zip(ticks, names, strict=False) if name]


def _line(text: str) -> str:
    return " ".join(text.split())
