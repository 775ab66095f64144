"""Where the values of a rendered panel lie: a page shows the one under the pointer."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.patches import Rectangle
from matplotlib.transforms import Bbox

MOST = 400
"""Values of a panel; of more, an even choice."""
_POINTS_PER_INCH = 72


def with_points(svg: bytes, panel: Sequence[Any], inches: Bbox) -> bytes:
    """Add to a rendered panel, as an attribute of it, where its values lie and what they are.

    Parameters
    ----------
    svg : bytes
        The rendered panel.
    panel : sequence of Axes
        What it shows; other artists have no values.
    inches : Bbox
        The part of the figure that was rendered.

    Returns
    -------
    bytes
        With ``data-points``, a list of [x, y, words] in the units of the picture; unchanged where there are none.
    """
    found = [point for axes in panel if isinstance(axes, Axes) for point in _of_axes(axes, inches)]
    if not found:
        return svg
    if len(found) > MOST:
        found = [found[i * len(found) // MOST] for i in range(MOST)]
    text = quoteattr(json.dumps(found, ensure_ascii=True, separators=(",", ":")))
    return svg.replace(b"<svg ", f"<svg data-points={text} ".encode(), 1)


def _of_axes(axes: Axes, inches: Bbox) -> Iterator[tuple[float, float, str]]:
    for label, places, series in _values(axes):
        pixels = axes.transData.transform(places) if len(places) else places
        at = (pixels / axes.figure.dpi - (inches.x0, inches.y0)) * _POINTS_PER_INCH
        up = inches.height * _POINTS_PER_INCH
        frame = axes.bbox
        for (x, y), pixel, words in zip(at, pixels, label, strict=True):
            inside = np.isfinite(pixel).all() and frame.x0 - 1 <= pixel[0] <= frame.x1 + 1
            if inside and frame.y0 - 1 <= pixel[1] <= frame.y1 + 1:
                yield round(float(x), 1), round(float(up - y), 1), f"{series}{words}"


def _values(axes: Axes) -> Iterator[tuple[list[str], np.ndarray, str]]:
    """Give words, places in data and the name of each line, cloud of points and bar."""
    across, up = (" ".join(text.split()) for text in (axes.get_xlabel(), axes.get_ylabel()))

    def words(x: float, y: float) -> str:
        return f"{across + ' ' if across else ''}{x:.4g}, {up + ' ' if up else ''}{y:.4g}"

    for line in axes.lines:
        if line.get_transform() == axes.transData:
            places = np.column_stack([np.asarray(part, dtype=float) for part in line.get_data(orig=False)])
            yield [words(x, y) for x, y in places], places, _series(line)
    for found in axes.collections:
        if isinstance(found, PathCollection):
            places = np.ma.filled(np.ma.asarray(found.get_offsets(), dtype=float), np.nan)
            yield [words(x, y) for x, y in places], places, _series(found)
    for bar in axes.patches:
        if isinstance(bar, Rectangle) and bar.get_transform() == bar.get_patch_transform() + axes.transData:
            lies = bar.get_height() < bar.get_width() and bar.get_x() == 0
            x, y = bar.get_x() + bar.get_width() / 2, bar.get_y() + bar.get_height() / 2
            value = bar.get_width() if lies else bar.get_y() + bar.get_height()
            yield [f"{value:.4g}"], np.array([[x, y]]), _series(bar)


def _series(artist: Any) -> str:
    gid, label = str(artist.get_gid() or ""), " ".join(str(artist.get_label()).split())
    if gid.startswith("seed="):
        return f"seed {gid.removeprefix('seed=')}: "
    return f"{label}: " if label and not label.startswith("_") else ""
