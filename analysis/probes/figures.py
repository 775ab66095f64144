"""Figures of the layer-probe study: explained variance, accuracy by components, accuracy by depth, collapse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.probes.layer import ALL_COMPONENTS
from analysis.probes.onset import NO_ONSET, Onset
from analysis.style import (
    CONTEXT,
    PALETTE,
    PAPER,
    REFERENCE,
    SEEDS_NAMED,
    in_style,
    new_figure,
    number_log,
    of_seed,
    ordered_colors,
    seed_color,
    seed_legend,
)

NAMES = {"knn": "k-NN", "ncc": "nearest center", "svm": "linear SVM", "ridge": "ridge"}
Row = Mapping[str, Any]

MOST_NAMES = 14
"""Names of layers that one legend column or one axis shows."""


@in_style
def explained_variance_figure(curves: Mapping[str, Float[np.ndarray, " r"]]) -> Figure:
    """Explained-variance ratio against the number of components, one line per layer.

    Parameters
    ----------
    curves : dict of str to ndarray, shape (r,)
        EVR(k) for k = 1..r by layer, in order of depth; an empty array marks a degenerate layer.

    Returns
    -------
    Figure
    """
    figure, axes = new_figure(width=5.6, height=3.6)
    axis = axes[0, 0]
    for color, (layer, curve) in zip(ordered_colors(len(curves)), curves.items(), strict=True):
        if curve.size:
            axis.plot(np.arange(1, curve.size + 1), curve, color=color, label=layer)
        else:
            axis.plot([], [], color=color, linestyle=":", label=f"{layer} (degenerate)")
    axis.axhline(0.2, color=REFERENCE, linewidth=0.8, linestyle="--")
    longest = max((curve.size for curve in curves.values()), default=1)  # there all lines are far above
    axis.annotate("20 %", (longest, 0.2), (0, 3), textcoords="offset points", fontsize=8, ha="right")
    axis.set(xscale="log", xlabel="components k", ylabel="explained-variance ratio", ylim=(0, 1.02))
    number_log(axis)
    axis.set_title("Explained variance by layer")
    columns = 1 + (len(curves) - 1) // MOST_NAMES  # a longer legend would leave the axes no height
    axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8, ncols=columns)
    return figure


def _readable(layers: Sequence[str]) -> list[str]:
    """Names of layers along an axis: of many every second or third, and the last; the ticks of the others stay."""
    every = -(-len(layers) // MOST_NAMES)
    return [layer if (len(layers) - 1 - place) % every == 0 else "" for place, layer in enumerate(layers)]


@in_style
def component_curves_figure(
    rows: Sequence[Row], layers: Sequence[str], *, network_accuracy: float, neighbors: float = 10.0
) -> Figure:
    """Accuracy of each surrogate against components (top) and explained variance (bottom), a line per layer.

    Parameters
    ----------
    rows : sequence of dict
        Probe table; several seeds of the same point are averaged.
    layers : sequence of str
        Layers to draw, in order of depth.
    network_accuracy : float
        Test accuracy of the network itself (0..1).
    neighbors : float
        κ of the k-NN curve.

    Returns
    -------
    Figure
        SVMs that did not converge have hollow markers.
    """
    names = [name for name in NAMES if any(row["classifier"] == name for row in rows)]
    figure, axes = new_figure(2, len(names), width=3.2, height=2.9, sharey=True)
    for column, name in enumerate(names):
        for color, layer in zip(ordered_colors(len(layers)), layers, strict=True):
            chosen = [row for row in _select(rows, name, neighbors) if row["layer"] == layer]
            ks = sorted({row["k"] for row in chosen} - {ALL_COMPONENTS})
            if not ks:
                continue
            points = [[row for row in chosen if row["k"] == k] for k in ks]
            accuracy = [100 * np.mean([row["accuracy"] for row in at]) for at in points]
            share = [np.mean([row["evr"] for row in at]) for at in points]
            failed = [not all(row["converged"] for row in at) for at in points]
            for axis, x in ((axes[0, column], ks), (axes[1, column], share)):
                axis.plot(x, accuracy, color=color, label=layer)
                _hollow(axis, x, accuracy, failed, color)
        for axis in axes[:, column]:
            axis.axhline(100 * network_accuracy, color=REFERENCE, linewidth=0.9, linestyle="--")
        axes[0, column].set(xscale="log", xlabel="components k")
        number_log(axes[0, column])
        for axis in axes[:, column]:
            axis.set_title(NAMES[name])
        axes[1, column].set(xlabel="explained-variance ratio", xlim=(0, 1.02))
    for axis in axes[:, 0]:
        axis.set_ylabel("test accuracy (%)")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    network = axes[0, 0].axhline(100 * network_accuracy, color=REFERENCE, linewidth=0.9, linestyle="--")
    figure.legend([*handles, network], [*labels, "network"], loc="outside lower center", ncols=6, fontsize=8)
    return figure


@in_style
def depth_figure(
    rows: Sequence[Row],
    layers: Sequence[str],
    *,
    onset: Onset,
    nc1: Float[np.ndarray, " L"],
    network_accuracy: float,
    components: int = 100,
    neighbors: float = 10.0,
) -> Figure:
    """Accuracy and fidelity against depth for all components and for k = 100, with onset and NC1.

    Parameters
    ----------
    rows : sequence of dict
        Probe table; several seeds are averaged and drawn with their standard deviation.
    layers : sequence of str
        In order of depth.
    onset : Onset
        Drawn as a line with its bootstrap interval as a band.
    nc1 : ndarray, shape (L,)
        Second axis, logarithmic.
    network_accuracy : float
    components : int
        The smaller number of components; the nearest of the grid is drawn.
    neighbors : float
        κ of k-NN.

    Returns
    -------
    Figure
    """
    figure, axes = new_figure(1, 2, width=4.9, height=3.7)
    depth = np.arange(len(layers))
    for axis, score in zip(axes[0], ("accuracy", "fidelity"), strict=True):
        for color, name in zip(PALETTE, ("knn", "ncc", "svm"), strict=False):
            for style, k in (("-", ALL_COMPONENTS), (":", components)):
                mean, deviation, failed = _by_depth(_select(rows, name, neighbors), layers, score, k)
                label = NAMES[name] if k == ALL_COMPONENTS else f"{NAMES[name]}, k ≈ {components}"
                axis.errorbar(depth, mean, deviation, color=color, linestyle=style, capsize=2, label=label)
                axis.plot(depth, mean, "o", color=color, markersize=3.5)
                _hollow(axis, depth, mean, failed, color)
        if onset.index != NO_ONSET:
            axis.axvline(onset.index, color=REFERENCE, linewidth=1.0)
            high = len(layers) - 1 if onset.high == NO_ONSET else onset.high
            axis.axvspan(onset.low - 0.15, high + 0.15, color=CONTEXT, alpha=0.2, linewidth=0)
        axis.set_xticks(depth, _readable(layers), rotation=45, ha="right", fontsize=8)
        axis.set_ylabel(f"test {score} (%)")
        axis.set_title(f"{score.capitalize()} by depth")
    axes[0, 0].axhline(100 * network_accuracy, color=REFERENCE, linewidth=0.9, linestyle="--", label="network")
    for axis in axes[0]:  # a deviation does not leave the range of a share
        low, high = axis.get_ylim()
        axis.set_ylim(max(low, 0.0), min(high, 100.0))
    twin = axes[0, 1].twinx()
    twin.plot(depth, nc1, color=CONTEXT, marker="s", markersize=3.5, label="NC1 (right axis)")
    twin.set(yscale="log", ylabel="NC1")
    twin.grid(False)
    twin.spines["right"].set_visible(True)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    more, more_labels = twin.get_legend_handles_labels()
    figure.legend([*handles, *more], [*labels, *more_labels], loc="outside lower center", ncols=4, fontsize=8)
    figure.suptitle(
        "No onset of collapse" if onset.index == NO_ONSET else f"Onset of collapse: {onset.layer}", fontsize=10
    )
    return figure


@in_style
def collapse_figure(rows: Sequence[Row], layers: Sequence[str], *, seeds: Sequence[str] | None = None) -> Figure:
    """NC1, NC2 and NC4 against depth, one line per epoch or per run.

    Parameters
    ----------
    rows : sequence of dict
        Keys layer, epoch (a number; the place of a run among the seeds), nc1, nc2_angles, nc2_norms, nc4; rows of one
        layer and epoch are averaged.
    layers : sequence of str
        In order of depth.
    seeds : sequence of str, optional
        Names of the runs, where a line is a run.

    Returns
    -------
    Figure
    """
    panels = (
        ("nc1", r"NC1: tr($\Sigma_W\Sigma_B^+$)/C", "log"),
        ("nc2_angles", "NC2: mean |cos + 1/(C-1)|", "linear"),
        ("nc4", "NC4: center ≠ network", "linear"),
    )
    figure, axes = new_figure(1, len(panels), width=3.4, height=3.1)
    epochs = sorted({row["epoch"] for row in rows})
    depth = np.arange(len(layers))
    for axis, (key, title, scale) in zip(axes[0], panels, strict=True):
        colors = ordered_colors(len(epochs)) if seeds is None else [seed_color(int(place)) for place in epochs]
        for color, epoch in zip(colors, epochs, strict=True):
            found = [[r[key] for r in rows if r["epoch"] == epoch and r["layer"] == layer] for layer in layers]
            means = [np.mean(v) if v else np.nan for v in found]
            drawn = axis.plot(depth, means, "o-", color=color, markersize=3, label=f"{epoch:g}")
            if seeds is not None:
                of_seed(drawn, seeds[int(epoch)])
        axis.set(yscale=scale)
        axis.set_xticks(depth, _readable(layers), rotation=45, ha="right", fontsize=8)
        axis.set_title(title, fontsize=9)
    if seeds is None:
        axes[0, -1].legend(title="epoch", loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8)
    else:
        axes[0, -1].legend(
            [Line2D([], [], color=seed_color(i)) for i in range(min(len(seeds), SEEDS_NAMED))],
            [f"seed {seed}" for seed in seeds[:SEEDS_NAMED]],
            loc="center left",
            bbox_to_anchor=(1.0, 0.5),
            fontsize=8,
        )
    return figure


@in_style
def onset_history_figure(
    runs: Sequence[Sequence[Row]], layers: Sequence[str], seeds: Sequence[str] | None = None
) -> Figure:
    """Layer of onset against epoch, one line per run; "no onset" is drawn beyond the last layer.

    Parameters
    ----------
    runs : sequence of sequence of dict
        For each run one row for each snapshot: epoch, onset, onset_low, onset_high.
    layers : sequence of str
        In order of depth.
    seeds : sequence of str, optional
        Names of the runs; without them, their places.

    Returns
    -------
    Figure
    """
    figure, axes = new_figure(width=5.6, height=3.6)
    axis = axes[0, 0]
    shown = list(seeds or map(str, range(len(runs))))
    names = [*layers, "no onset"]
    place = {name: i for i, name in enumerate(names)}
    for i, run in enumerate(runs):
        # runs side by side, so that equal onsets do not hide each other
        at = np.arange(len(run)) + 0.12 * (i - (len(runs) - 1) / 2)
        middle, low, high = (np.array([place[row[key]] for row in run]) for key in ("onset", "onset_low", "onset_high"))
        error = np.abs(np.stack([middle - low, high - middle]))
        color = seed_color(i)
        drawn = axis.errorbar(at, middle, error, fmt="o-", color=color, markersize=3.5, capsize=2, linewidth=1)
        of_seed(drawn[0], shown[i])
    axis.set_xticks(range(len(runs[0])), [f"{row['epoch']:g}" for row in runs[0]])
    axis.set_yticks(range(len(names)), names, fontsize=8)
    axis.set(xlabel="epoch", ylim=(-0.5, len(names) - 0.5))
    axis.set_title("Onset of collapse by epoch")
    seed_legend(axis, shown)
    return figure


def _select(rows: Sequence[Row], name: str, neighbors: float) -> list[Row]:
    return [r for r in rows if r["classifier"] == name and (name != "knn" or r["setting"] == neighbors)]


def _by_depth(
    rows: Sequence[Row], layers: Sequence[str], score: str, components: int
) -> tuple[np.ndarray, np.ndarray, list[bool]]:
    mean, deviation, failed = np.full(len(layers), np.nan), np.zeros(len(layers)), [False] * len(layers)
    for i, layer in enumerate(layers):
        here = [row for row in rows if row["layer"] == layer]
        if not here:
            continue
        ks = {row["k"] for row in here}
        wanted = components
        if components != ALL_COMPONENTS:
            wanted = min(ks - {ALL_COMPONENTS}, key=lambda k: abs(k - components))
        at = [row for row in here if row["k"] == wanted]
        values = 100 * np.array([row[score] for row in at], dtype=float)
        mean[i], failed[i] = values.mean(), not all(row["converged"] for row in at)
        deviation[i] = values.std(ddof=1) if values.size > 1 else 0.0
    return mean, deviation, failed


def _hollow(axis: Axes, x: Any, y: Any, failed: Sequence[bool], color: Any) -> None:
    marked = np.flatnonzero(failed)
    if marked.size:
        axis.plot(np.asarray(x)[marked], np.asarray(y)[marked], "o", mfc=PAPER, mec=color, markersize=4.5, zorder=3)
