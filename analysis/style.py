"""One look for every figure: colors that survive color blindness, quiet axes, reproducible SVG bytes."""

from __future__ import annotations

import io
from typing import Any

import matplotlib
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure

PALETTE: tuple[str, ...] = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#5E4FA2", "#666666")
"""Okabe-Ito order, blue first; black is kept for references and gray for context."""
REFERENCE = "#111111"
CONTEXT = "#9AA0A6"

_RC: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "axes.titlesize": 10.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E6E8EB",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "axes.prop_cycle": cycler(color=list(PALETTE)),
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "svg.hashsalt": "seedscope",
    "svg.fonttype": "path",
    "savefig.dpi": 150,
}


def new_figure(
    rows: int = 1, columns: int = 1, *, width: float = 4.2, height: float = 3.0, sharey: bool = False
) -> tuple[Figure, np.ndarray]:
    """Make a figure without pyplot's global state.

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
        axes = figure.subplots(rows, columns, squeeze=False, sharey="row" if sharey else False)
    return figure, axes


def legend_below(axis: Axes, columns: int = 3) -> None:
    """Put the legend under an axis, where it hides no data."""
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=columns)


def svg_bytes(figure: Figure) -> bytes:
    """Render a figure as SVG without dates and with a fixed hash salt: same figure, same bytes."""
    buffer = io.BytesIO()
    with matplotlib.rc_context(_RC):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def png_bytes(figure: Figure, dpi: int = 150) -> bytes:
    """Render a figure as PNG, for galleries whose SVG would be large."""
    buffer = io.BytesIO()
    with matplotlib.rc_context(_RC):
        figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()
