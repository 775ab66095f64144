"""The figure on a comparison of runs: who is how good, who disagrees with whom, and who is not typical."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from analysis.comparison.run_numbers import RunNumbers
from analysis.style import CONTEXT, INK, ON_COLOR, PALETTE, in_style, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LABELS = {"mixture": "mixture", "logit_mean": "mean logits", "quantile_mean": "quantile mean"}
NAMES_UP_TO = 12
"""Runs up to which axes name them; of more, every so many."""
_LONGEST = 14


@in_style
def run_figure(result: RunNumbers) -> Figure:
    """Draw four panels: accuracy with the ensemble, churn of pairs, levels by reference, growth of ambiguity."""
    figure, axes = new_figure(2, 2, width=4.6, height=3.3)
    _accuracy(axes[0, 0], result)
    _churn(axes[0, 1], result)
    _levels(axes[1, 0], result)
    _growth(axes[1, 1], result)
    return figure


@in_style
def accuracy_figure(result: RunNumbers) -> Figure:
    """Draw the accuracy of every run, with their mean and their ensemble."""
    figure, axes = new_figure(width=4.6, height=3.3)
    _accuracy(axes[0, 0], result)
    return figure


def _places(result: RunNumbers) -> tuple[np.ndarray, list[str]]:
    """Which runs an axis names, and how."""
    names = result.outputs.names
    shown = np.unique(np.linspace(0, len(names) - 1, min(len(names), NAMES_UP_TO)).round().astype(int))
    return shown, [names[i] if len(names[i]) <= _LONGEST else f"{names[i][: _LONGEST - 1]}…" for i in shown]


def _name_runs(axis: Axes, result: RunNumbers) -> None:
    shown, names = _places(result)
    turned = sum(map(len, names)) > 50
    axis.set_xticks(shown, names, rotation=45 if turned else 0, ha="right" if turned else "center", fontsize=8)
    axis.grid(axis="x", visible=False)


def _accuracy(axis: Axes, result: RunNumbers) -> None:
    values = 100 * result.metrics["accuracy"]
    axis.plot(range(len(values)), values, "o", color=PALETTE[0], markersize=5 if len(values) <= 40 else 3)
    rows = {row["of"]: row for row in result.rows if row["measure"] == "accuracy"}
    for of, color, label, style in (
        ("mean run", CONTEXT, "mean of the runs", "-"),
        ("ensemble", PALETTE[1], "ensemble", "--"),
    ):
        row = rows[of]
        axis.axhline(100 * row["value"], color=color, linestyle=style, label=label)
        if row["low"] == row["low"]:
            axis.axhspan(100 * row["low"], 100 * row["high"], color=color, alpha=0.18, linewidth=0)
    _name_runs(axis, result)
    axis.set(ylabel="accuracy, %", title="Accuracy, with 95 % intervals over runs")
    axis.legend(loc="best", fontsize=8)


def _churn(axis: Axes, result: RunNumbers) -> None:
    matrix = 100 * result.churn
    shown, names = _places(result)
    drawn = np.where(np.eye(len(matrix), dtype=bool), np.nan, matrix)
    image = axis.imshow(drawn, cmap="Blues", vmin=0, interpolation="nearest", aspect="auto")
    if len(matrix) <= 8:
        for i, j in np.argwhere(~np.isnan(drawn)):
            dark = matrix[i, j] > 0.6 * np.nanmax(drawn)
            axis.text(
                j, i, f"{matrix[i, j]:.1f}", ha="center", va="center", fontsize=8, color="w" if dark else ON_COLOR
            )
    axis.grid(False)
    turned = sum(map(len, names)) > 40
    axis.set_xticks(shown, names, rotation=45 if turned else 0, ha="right" if turned else "center", fontsize=8)
    axis.set_yticks(shown, names, fontsize=8)
    axis.set_title(f"Churn: pairs differ on {100 * result.value('churn', 'between two runs'):.3g} % of examples")
    axis.figure.colorbar(image, ax=axis, label="differing decisions, %")


def _levels(axis: Axes, result: RunNumbers) -> None:
    runs = len(result.outputs.names)
    for place, (color, marker, (kind, level)) in enumerate(zip(PALETTE, "osD", result.levels.items(), strict=False)):
        across = np.arange(runs) + 0.16 * (place - 1)
        axis.plot(across, level, marker, color=color, markersize=4.5 if runs <= 40 else 2.5, label=LABELS[kind])
    _name_runs(axis, result)
    top = max((float(np.nanmax(level)) for level in result.levels.values() if not np.isnan(level).all()), default=0.0)
    if top == 0:
        said = "no run is distinguishable" if result.delta == result.delta else "too few examples for any tolerance"
        axis.text(0.5, 0.6, said, transform=axis.transAxes, ha="center", color=INK)
    axis.set(
        ylim=(-0.02 * max(top, 0.1), 1.15 * max(top, 0.1)), ylabel="trimming level", title="Not typical of the others"
    )
    axis.legend(loc="best", fontsize=8, title=f"reference, δ = {result.delta:.3g}", title_fontsize=8)


def _growth(axis: Axes, result: RunNumbers) -> None:
    sizes = np.arange(2, len(result.outputs.names) + 1)
    axis.plot(sizes, 100 * result.growth, "o-", color=PALETTE[2], markersize=4)
    axis.annotate(
        f"{100 * result.growth[-1]:.3g} %",
        (sizes[-1], 100 * result.growth[-1]),
        xytext=(-4, 5),
        textcoords="offset points",
        ha="right",
        fontsize=8,
    )
    axis.set_xlim(1.5, sizes[-1] + 0.5)
    axis.set_ylim(0, 1.15 * max(100 * float(result.growth.max()), 1e-3))
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.set(xlabel="runs", ylabel="not all agree, % of examples", title="Ambiguity grows with the runs")
