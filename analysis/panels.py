"""A figure's panels as pictures of their own: a page puts them side by side, or one below the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection, QuadMesh
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.transforms import Bbox

from analysis.figure_points import with_points
from analysis.style import _RC, svg_bytes

_MARGIN = 0.04
"""Inches around a panel."""


def panel_svgs(figure: Figure) -> tuple[list[bytes], bytes]:
    """Render each panel of a figure by itself, and the legend that they share.

    A panel whose numbers are all 0 is left out, see :func:`void_panels`. A panel that shares its vertical axis with
    its neighbors gets labels of its own. The figure is left as it was.

    Parameters
    ----------
    figure : Figure
        A finished figure.

    Returns
    -------
    panels : list of bytes
        SVG, in the order of the axes, with a transparent ground.
    legend : bytes
        SVG; empty where the figure has no legend of its own.
    """
    panels = [group for group in groups(figure) if not is_void(group)]
    if len(figure.axes) == 1 and panels and not figure.legends:
        alone = svg_bytes(figure, transparent=True)
        whole = Bbox.from_bounds(0, 0, *figure.get_size_inches())
        return [with_points(alone, figure.axes, whole)], b""
    with matplotlib.rc_context(_RC), _laid_out(figure):
        rendered = [_alone(figure, group) for group in panels]
        return rendered, _alone(figure, figure.legends) if figure.legends and panels else b""


def void_panels(figure: Figure) -> list[str]:
    """Name the panels of a figure in which every number is 0, by their titles or axes.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> figure = Figure()
    >>> left, right = figure.subplots(1, 2)
    >>> _ = left.plot([1, 2], [0.0, 0.0]), right.plot([1, 2], [0.0, 0.5])
    >>> left.set_title("levels"), void_panels(figure)
    (Text(0.5, 1.0, 'levels'), ['levels'])
    """
    return [_name(group[0]) for group in groups(figure) if is_void(group)]


def is_void(group: Sequence[Axes]) -> bool:
    """Whether numbers are drawn and all of them are 0; a line that only marks a value does not count."""
    found = [values for axes in group for values in _numbers(axes)]
    return bool(found) and not any(np.any(values != 0) for values in found)


def _numbers(axes: Axes) -> Iterator[np.ndarray]:
    """Give the finite numbers that a panel draws: heights, or widths where it measures across."""
    across = getattr(axes, "across", False)
    for line in axes.lines:
        if line.get_transform() == axes.transData:
            yield _finite(line.get_xdata() if across else line.get_ydata())
    for patch in axes.patches:
        if isinstance(patch, Rectangle) and patch.get_transform() == patch.get_patch_transform() + axes.transData:
            yield _finite([patch.get_width() if across else patch.get_height()])
    for found in axes.collections:
        if isinstance(found, PathCollection):
            yield _finite(np.asarray(found.get_offsets())[:, 0 if across else 1])
        elif isinstance(found, QuadMesh) and found.get_array() is not None:
            yield _finite(found.get_array())
        elif isinstance(found, LineCollection):
            yield from (_finite(part[:, 0 if across else 1]) for part in found.get_segments() if len(part))
    for image in axes.images:
        if image.get_array() is not None:
            yield _finite(image.get_array())


def _finite(values: Any) -> np.ndarray:
    array: np.ndarray = np.ma.filled(np.ma.asarray(values, dtype=float), np.nan).ravel()
    return array[np.isfinite(array)]


def _name(axes: Axes) -> str:
    titles = [axes.get_title(loc=place) for place in ("left", "center", "right")]
    named = [text for text in (*titles, axes.get_ylabel(), axes.get_xlabel()) if text]
    return " ".join(named[0].split()) if named else "a panel"


def groups(figure: Figure) -> list[list[Axes]]:
    """Collect axes that belong together: a panel with its color bar and its second vertical axis."""
    found: list[list[Axes]] = []
    for axes in figure.axes:
        bar = getattr(axes, "_colorbar", None)
        owner = bar.mappable.axes if bar is not None else None
        twins = axes._twinned_axes.get_siblings(axes)  # type: ignore[attr-defined]
        home = next((group for group in found if owner in group or any(twin in group for twin in twins)), None)
        if home is not None:
            home.append(axes)
        elif axes.get_visible():
            found.append([axes])
    return found


@contextmanager
def _laid_out(figure: Figure) -> Iterator[None]:
    """Lay a figure out once and keep it so, whatever is hidden."""
    engine = figure.get_layout_engine()
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    try:
        yield
    finally:
        figure.set_layout_engine(engine)


def _alone(figure: Figure, shown: Sequence[Artist]) -> bytes:
    """Render some artists of a figure, cropped to them."""
    others = [*figure.axes, *figure.legends, *figure.texts]
    with ExitStack() as stack:
        for artist in others:
            stack.callback(artist.set_visible, artist.get_visible())
            artist.set_visible(artist in shown)
        for artist in shown:
            if isinstance(artist, Axes):
                _complete(artist, stack)
        renderer = figure._get_renderer()  # type: ignore[attr-defined]
        boxes = [box for artist in shown if (box := artist.get_tightbbox(renderer)) is not None]
        inches = Bbox.union(boxes).transformed(figure.dpi_scale_trans.inverted()).padded(_MARGIN)
        return with_points(svg_bytes(figure, transparent=True, bbox_inches=inches), shown, inches)


def _complete(axes: Axes, stack: ExitStack) -> None:
    """Give a panel the label and numbers of the vertical axis that it shares with its neighbors."""
    siblings = [other for other in axes.get_shared_y_axes().get_siblings(axes) if other is not axes]
    if not siblings:
        return
    if not axes.get_ylabel() and (label := next((text for other in siblings if (text := other.get_ylabel())), "")):
        axes.set_ylabel(label)
        stack.callback(axes.set_ylabel, "")
    was = axes.yaxis.get_tick_params().get("labelleft", True)
    axes.tick_params(axis="y", labelleft=True)
    stack.callback(axes.tick_params, axis="y", labelleft=was)
