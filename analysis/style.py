"""One look for every figure: colors that survive color blindness, quiet axes, reproducible SVG bytes."""

from __future__ import annotations

import functools
import io
import re
from collections.abc import Callable
from functools import cache
from typing import Any, ParamSpec, TypeVar

import matplotlib
import numpy as np
from cycler import cycler
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.category import StrCategoryFormatter
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont
from matplotlib.ft2font import FT2Font
from matplotlib.text import Text
from matplotlib.ticker import FixedFormatter, Formatter, FuncFormatter

PALETTE: tuple[str, ...] = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#5E4FA2", "#666666")
"""Okabe-Ito order, blue first; black is kept for references and gray for context."""
RAMP: tuple[str, ...] = (
    "#440154",
    "#48186a",
    "#472e7c",
    "#414287",
    "#39558c",
    "#31668e",
    "#2a768e",
    "#24868e",
    "#1f968b",
    "#21a585",
    "#31b57b",
    "#4ec36b",
)
"""Colors of an order, such as depth or epochs, from first to last."""
REFERENCE = "#111111"
CONTEXT = "#9AA0A6"
INK = "#1B1F24"
"""Words and axes."""
GRID = "#E6E8EB"
PAPER = "#FDFDFD"
"""What hides something behind it: the color of the page."""
ON_COLOR = "#101112"
"""Words on a light field of a map, which keeps its color on a dark page."""

THEMED = {
    **{color.lower(): f"--hue-{i}" for i, color in enumerate(PALETTE)},
    **{color: f"--ramp-{i}" for i, color in enumerate(RAMP)},
    REFERENCE.lower(): "--figure-reference",
    CONTEXT.lower(): "--figure-context",
    INK.lower(): "--ink",
    GRID.lower(): "--figure-grid",
    PAPER.lower(): "--page",
}
"""Colors that a page replaces by its own, which differ in the dark; the CSS of pages says by which."""

_NO_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")

_JOINING = "\u200d\ufe00-\ufe0f"
"""Characters that are drawn with the one before them."""

_MATPLOTLIBS = re.compile(r"_child\d+|_nolegend_|_collection\d+|_container\d+|_line\d+|_")
"""Labels that matplotlib gives to what has no name."""

_RC: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "axes.titlesize": 10.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    "axes.prop_cycle": cycler(color=list(PALETTE)),
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "svg.hashsalt": "seedscope",
    "svg.fonttype": "path",
    "savefig.dpi": 150,
}


Arguments = ParamSpec("Arguments")
Drawn = TypeVar("Drawn")


def in_style(draw: Callable[Arguments, Drawn]) -> Callable[Arguments, Drawn]:
    """Decorate a function that draws a figure: matplotlib reads most of a style when something is drawn.

    Outside of the function, the style of whoever calls it is as it was.
    """

    @functools.wraps(draw)
    def drawn(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Drawn:
        with matplotlib.rc_context(_RC):
            return draw(*args, **kwargs)

    return drawn


SEEDS_NAMED = len(PALETTE)
"""Seeds that have a color of their own; further ones begin again."""


def seed_color(place: int) -> str:
    """Color of a seed by its place among the seeds of a study, the same in every figure."""
    return PALETTE[place % len(PALETTE)]


def ordered_colors(count: int) -> list[str]:
    """Give colors of things that follow each other, such as layers or epochs; of many, neighbors share one.

    Examples
    --------
    >>> len(set(ordered_colors(5))), len(ordered_colors(40)), ordered_colors(0)
    (5, 40, [])
    """
    return [RAMP[int(place)] for place in np.linspace(0, len(RAMP) - 1, count).round()]


def of_seed(artists: Artist | list[Any], seed: object) -> None:
    """Mark lines and points as those of a seed: a page can then bring out one seed in all of its figures."""
    for artist in artists if isinstance(artists, list) else [artists]:
        artist.set_gid(f"{_SEED}{seed}")


_SEED = "seed="


def balanced_columns(count: int, most: int) -> int:
    """Columns of a legend in which no entry stands alone below full rows, where that can be.

    Examples
    --------
    >>> [balanced_columns(count, 4) for count in (3, 4, 5, 6, 7, 9)]
    [3, 4, 3, 3, 4, 3]
    """
    return -(-count // -(-count // most)) if count else 1


def seed_legend(axis: Axes, seeds: list[str], columns: int = 5, inches: float | None = None) -> None:
    """Name the seeds of an axis under it, in their colors; of many, the first ones.

    It begins so many ``inches`` below the axis, which leaves room for the label of an axis of any height.
    """
    from matplotlib.lines import Line2D
    from matplotlib.transforms import ScaledTranslation

    if len(seeds) < 2:
        return
    shown = seeds[:SEEDS_NAMED]
    lines = [Line2D([], [], color=seed_color(i), label=f"seed {seed}") for i, seed in enumerate(shown)]
    if len(seeds) > len(shown):
        lines.append(Line2D([], [], linestyle="none", label=f"… {len(seeds)} seeds, colors repeat"))
    columns = balanced_columns(len(lines), 3 if len(seeds) > len(shown) else columns)
    place, drop = axis.transAxes, 0.18
    if inches is not None:
        place, drop = place + ScaledTranslation(0.0, -inches, axis.figure.dpi_scale_trans), 0.0
    axis.legend(
        handles=lines,
        loc="upper center",
        bbox_to_anchor=(0.5, -drop),
        bbox_transform=place,
        ncols=columns,
        fontsize=8,
    )


class _NamedAxes(Axes):
    """Axes whose legends also hold names that begin with an underscore, which matplotlib takes for its own."""

    across = False
    """Whether what is measured stands on the horizontal axis, and names on the other."""

    def legend(self, *args: Any, **kwargs: Any) -> Any:
        """Draw the legend; a name such as ``_hidden`` gets a blank before it."""
        self._keep_names(*kwargs.get("handles", ()))
        return super().legend(*args, **kwargs)

    def get_legend_handles_labels(self, *args: Any, **kwargs: Any) -> Any:
        """Give what a legend holds, names such as ``_hidden`` with a blank before them."""
        self._keep_names()
        return super().get_legend_handles_labels(*args, **kwargs)

    def _keep_names(self, *handles: Any) -> None:
        for artist in [*self.get_children(), *self.containers, *handles]:
            label = artist.get_label()
            if isinstance(label, str) and label.startswith("_") and not _MATPLOTLIBS.fullmatch(label):
                artist.set_label(f" {label}")


def new_figure(
    rows: int = 1, columns: int = 1, *, width: float = 4.2, height: float = 3.0, sharey: bool = False
) -> tuple[Figure, np.ndarray]:
    """Make a figure without pyplot's global state.

    What is drawn into it later has the style only in a function that is decorated with :func:`in_style`.

    Parameters
    ----------
    rows, columns : int
        Grid of axes.
    width, height : float
        Size of one panel in inches.
    sharey : bool
        Share the vertical axis within a row.

    Returns
    -------
    figure : Figure
    axes : ndarray of Axes, shape (rows, columns)
    """
    with matplotlib.rc_context(_RC):
        figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
        kind = {"axes_class": _NamedAxes}
        axes = figure.subplots(rows, columns, squeeze=False, sharey="row" if sharey else False, subplot_kw=kind)
    return figure, axes


def number_log(axis: Axes) -> None:
    """Write the numbers of a logarithmic horizontal axis in full: 1, 10, 100, and between them where it is short."""
    from matplotlib.ticker import LogLocator, NullFormatter

    low, high = axis.get_xlim()
    axis.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high < 50 * low else (1.0,)))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.xaxis.set_minor_formatter(NullFormatter())


def legend_below(axis: Axes, columns: int = 3) -> None:
    """Put the legend under an axis, where it hides no data."""
    columns = balanced_columns(len(axis.get_legend_handles_labels()[0]), columns)
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=columns)


def literal(text: str) -> str:
    r"""Text that a figure shows as it is: names come from data, so ``$`` begins no formula.

    Examples
    --------
    >>> literal("US$ and CA$")
    'US\\$ and CA\\$'
    """
    plain = _NO_XML.sub("�", text)
    return plain if plain.startswith(r"$\mathdefault{") else re.sub(r"(?<!\\)\$", r"\$", plain)


def undrawn_names(figure: Figure) -> dict[str, str]:
    """Give what a rendered figure shows in the place of characters that its font lacks, such as ``[1]`` for 猫.

    A font that another machine has would draw them, and make other bytes of the same address.
    """
    return {mark: name for name, mark in getattr(figure, "_undrawn", {}).items()}


@cache
def _font() -> frozenset[int]:
    """Characters that both weights of the font draw."""
    faces = [findfont(FontProperties(family=_RC["font.family"], weight=weight)) for weight in ("normal", "bold")]
    return frozenset({10}).union(frozenset.intersection(*(frozenset(FT2Font(face).get_charmap()) for face in faces)))


def _drawable(text: str, marks: dict[str, str]) -> str:
    """Replace each run of characters that the font lacks by its mark."""
    lacking = "" if text.isascii() else re.escape("".join({sign for sign in text if ord(sign) not in _font()}))
    if not lacking.strip():
        return text
    return re.sub(
        f"[{lacking}][{lacking}{_JOINING}]*", lambda run: marks.setdefault(run[0], f"[{len(marks) + 1}]"), text
    )


def _show_names(figure: Figure) -> None:
    """Make every text of a figure literal; no figure of ours has a formula but the powers on logarithmic axes."""
    marks: dict[str, str] = getattr(figure, "_undrawn", {})
    setattr(figure, "_undrawn", marks)  # noqa: B010
    for text in figure.findobj(Text):
        if text.get_text() != (shown := _drawable(literal(text.get_text()), marks)):
            text.set_text(shown)
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        formatter = axis.get_major_formatter()
        if isinstance(formatter, FixedFormatter | FuncFormatter | StrCategoryFormatter):
            axis.set_major_formatter(_Literal(formatter, marks))


class _Literal(Formatter):
    """Labels of another formatter as they are."""

    def __init__(self, inner: Formatter, marks: dict[str, str]) -> None:
        self._inner, self._marks = inner, marks

    def __call__(self, x: float, pos: int | None = None) -> str:
        return _drawable(literal(self._inner(x, pos)), self._marks)

    def format_ticks(self, values: Any) -> list[str]:
        return [_drawable(literal(text), self._marks) for text in self._inner.format_ticks(values)]

    def set_locs(self, locs: Any) -> None:
        self._inner.set_locs(locs)

    def get_offset(self) -> str:
        return self._inner.get_offset()


def svg_bytes(figure: Figure, **options: Any) -> bytes:
    """Render a figure as SVG without dates and with a fixed hash salt: same figure, same bytes.

    What was marked by :func:`of_seed` has the attribute ``data-seed``. Options are those of ``Figure.savefig``.
    """
    _show_names(figure)
    buffer = io.BytesIO()
    with matplotlib.rc_context(_RC):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None}, **options)
    return buffer.getvalue().replace(f'<g id="{_SEED}'.encode(), b'<g data-seed="')


PNG_DPI = 150
"""Pixels of an inch of a PNG."""


def png_bytes(figure: Figure, dpi: int = PNG_DPI) -> bytes:
    """Render a figure as PNG, for galleries whose SVG would be large."""
    _show_names(figure)
    buffer = io.BytesIO()
    with matplotlib.rc_context(_RC):
        figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()
