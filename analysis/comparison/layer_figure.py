"""The figure on a comparison of layers: who is like whom between seeds, within one, and how that changes with depth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.comparison.layer_measures import NAMES, MeasureRow
from analysis.style import ON_COLOR, PALETTE, REFERENCE, in_style, new_figure

_NUMBERED = 8
"""Layers up to which cells show their number."""


@in_style
def layer_figure(
    layers: Sequence[str],
    between: Float[np.ndarray, "l l"],
    within: Float[np.ndarray, "l l"],
    same: Float[np.ndarray, "_ 3"],
    runs: int,
) -> Figure:
    """Draw CKA between layers of different runs, of one run, and of each layer between seeds.

    Parameters
    ----------
    layers : sequence of str
        Names.
    between, within : ndarray, shape (l, l)
        Mean CKA of layers of different runs, and of one run.
    same : ndarray, shape (l, 3)
        Value, low and high of each layer between seeds; empty for one run.
    runs : int
        Number of runs; of one only the middle panel is drawn.
    """
    figure, axes = new_figure(1, 3 if runs > 1 else 1, width=4.0, height=3.4)
    if runs > 1:
        _map(axes[0, 0], between, layers, "Layers of different seeds")
        _depth(axes[0, 2], same, layers)
    _map(axes[0, 1] if runs > 1 else axes[0, 0], within, layers, "Layers of one seed")
    return figure


@in_style
def measures_figure(layers: Sequence[str], rows: Sequence[MeasureRow]) -> Figure:
    """Draw each layer between seeds by further measures, one panel each, with the value by chance.

    Parameters
    ----------
    layers : sequence of str
        Names.
    rows : sequence of MeasureRow
        Every layer by every measure.
    """
    measures = list(dict.fromkeys(row["measure"] for row in rows))
    figure, axes = new_figure(1, len(measures), width=4.0, height=3.4)
    for axis, measure in zip(axes[0], measures, strict=True):
        shown = [row for row in rows if row["measure"] == measure]
        _depth(axis, np.array([[row["value"], row["low"], row["high"]] for row in shown]), layers)
        axis.plot(range(len(shown)), [row["chance"] for row in shown], "--", color=REFERENCE, label="by chance")
        axis.set(ylabel="between seeds", title=f"{NAMES[measure].capitalize()}")
        axis.legend(loc="upper right", fontsize=8)
    return figure


def _name_layers(axis: Axes, layers: Sequence[str]) -> np.ndarray:
    shown = np.unique(np.linspace(0, len(layers) - 1, min(len(layers), 20)).round().astype(int))
    names = [layers[i] if len(layers[i]) <= 16 else f"…{layers[i][-15:]}" for i in shown]
    turned = sum(map(len, names)) > 28
    axis.set_xticks(shown, names, rotation=45 if turned else 0, ha="right" if turned else "center", fontsize=8)
    return np.array([shown, names], dtype=object)


def _map(axis: Axes, values: np.ndarray, layers: Sequence[str], title: str) -> None:
    image = axis.imshow(values, cmap="viridis", vmin=min(0.0, float(np.nanmin(values, initial=0.0))), vmax=1)
    shown, names = _name_layers(axis, layers)
    axis.set_yticks(shown.tolist(), names.tolist(), fontsize=8)
    axis.grid(False)
    if len(layers) <= _NUMBERED:
        for i, j in np.argwhere(~np.isnan(values)):
            color = "w" if values[i, j] < 0.6 else ON_COLOR
            axis.text(j, i, f"{values[i, j]:.2f}", ha="center", va="center", fontsize=7.5, color=color)
    axis.set_title(title)
    axis.figure.colorbar(image, ax=axis, label="CKA", shrink=0.85)


def _depth(axis: Axes, same: Float[np.ndarray, "l 3"], layers: Sequence[str]) -> None:
    place = np.arange(len(layers))
    value, low, high = same.T
    axis.plot(place, value, "o-", color=PALETTE[0], markersize=4)
    held = ~np.isnan(low)
    axis.vlines(place[held], low[held], high[held], color=PALETTE[0], linewidth=2, alpha=0.5)
    _name_layers(axis, layers)
    axis.set(ylim=(min(0.0, float(np.nanmin([*value, *low, 0.0]))) - 0.02, 1.04), ylabel="CKA between seeds")
    axis.set_title("Each layer between seeds")
