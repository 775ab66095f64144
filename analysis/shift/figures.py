"""Figures of the distribution-shift study: pooled PCA, KS by component, power, calibration, probes, cues."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.shift.cues import CUES
from analysis.shift.pca_ks import PooledScores, ks_threshold
from analysis.shift.permutation import TestResult
from analysis.shift.power import Calibration
from analysis.style import CONTEXT, PALETTE, REFERENCE, in_style, new_figure

_SIDES = (PALETTE[0], PALETTE[1])
_MARKERS = ("o", "^", "s", "D")
Row = Mapping[str, Any]


@in_style
def pooled_pca_figure(
    scores: PooledScores,
    ks: TestResult,
    *,
    names: tuple[str, str] = ("reference", "sample"),
    labels: tuple[np.ndarray, np.ndarray] | None = None,
) -> Figure:
    """Scatter by side (and class) on components 1-2 and on the pair with the largest KS distance.

    The strongest direction of difference need not be a leading component.

    Parameters
    ----------
    scores : PooledScores
    ks : TestResult
        From `pooled_pca_ks` on the same samples.
    names : pair of str
    labels : pair of ndarray, optional
        Classes; each gets its own marker.

    Returns
    -------
    Figure
    """
    figure, axes = new_figure(1, 2, width=4.3, height=3.8)
    distance = np.asarray(ks.detail["distance"])
    count = min(distance.size, scores.a.shape[1])
    strongest = np.sort(np.argsort(-distance[:count])[:2])
    for axis, pair in zip(axes[0], ((0, min(1, count - 1)), tuple(strongest[[0, -1]])), strict=True):
        for color, name, side, rows in zip(_SIDES, names, (0, 1), (scores.a, scores.b), strict=True):
            classes = np.zeros(len(rows), int) if labels is None else np.asarray(labels[side])
            for marker, value in zip(_MARKERS, np.unique(classes), strict=False):
                chosen = rows[classes == value]
                text = name if labels is None else f"{name}, class {value}"
                axis.scatter(
                    chosen[:, pair[0]], chosen[:, pair[1]], s=12, marker=marker, color=color, alpha=0.45, label=text,
                    linewidths=0,
                )  # fmt: skip
        for setter, component in ((axis.set_xlabel, pair[0]), (axis.set_ylabel, pair[1])):
            share = 100 * scores.explained_variance[component]
            setter(f"PC{component + 1} ({share:.1f} %, KS {distance[component]:.2f})")
    axes[0, 0].set_title("Leading components")
    axes[0, 1].set_title("Largest KS distances")
    handles, texts = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, texts, loc="outside lower center", ncols=4)
    return figure


@in_style
def map_figure(
    reference: Float[np.ndarray, "n 2"],
    sample: Float[np.ndarray, "m 2"],
    *,
    names: tuple[str, str] = ("reference", "sample"),
) -> Figure:
    """Two-dimensional map (t-SNE, UMAP) of both samples; axes have no unit.

    Parameters
    ----------
    reference, sample : ndarray, shape (n, 2) and (m, 2)
    names : pair of str

    Returns
    -------
    Figure
    """
    figure, axes = new_figure(width=5.2, height=4.0)
    axis = axes[0, 0]
    for color, name, rows in zip(_SIDES, names, (reference, sample), strict=True):
        axis.scatter(rows[:, 0], rows[:, 1], s=12, color=color, alpha=0.5, label=name, linewidths=0)
    axis.set(xticks=[], yticks=[], title="Map of the pooled embeddings")
    axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


@in_style
def ks_figure(
    ks: TestResult, null: TestResult | None = None, *, names: tuple[str, str] = ("P-M", "P-P'"), alpha: float = 0.05
) -> Figure:
    """Explained variance (left) and KS distance by component with its Bonferroni threshold (right).

    Parameters
    ----------
    ks : TestResult
        From `pooled_pca_ks`.
    null : TestResult, optional
        The same for two draws of the reference.
    names : pair of str
    alpha : float

    Returns
    -------
    Figure
    """
    figure, axes = new_figure(1, 2, width=4.3, height=3.2)
    left, right = axes[0]
    for color, name, result in zip(_SIDES[::-1], names, (ks, null), strict=True):
        if result is None:
            continue
        index = np.arange(1, len(result.detail["distance"]) + 1)
        left.plot(index, np.cumsum(result.detail["explained_variance"]), "o-", markersize=3, color=color, label=name)
        right.plot(index, result.detail["distance"], "o-", markersize=3, color=color, label=name)
    line = ks_threshold(ks.sizes, len(ks.detail["distance"]), alpha)
    right.axhline(line, color=REFERENCE, linestyle="--", linewidth=1, label=f"Bonferroni, {100 * alpha:g} %")
    left.set(xlabel="component", ylabel="cumulative explained variance", ylim=(0, 1.02), title="Pooled PCA")
    right.set(xlabel="component", ylabel="KS distance", ylim=(0, None), title="Difference by component")
    figure.legend(*right.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


@in_style
def power_figure(rows: Sequence[Row], *, alpha: float = 0.05) -> Figure:
    """Rejection rate against rows a side, one line per test, with exact 95 % intervals.

    Parameters
    ----------
    rows : sequence of dict
        From `power_curve`.
    alpha : float

    Returns
    -------
    Figure
    """
    figure, axes = new_figure(width=5.2, height=3.5)
    axis = axes[0, 0]
    for color, name in zip(PALETTE, dict.fromkeys(row["test"] for row in rows), strict=False):
        found = sorted((row for row in rows if row["test"] == name), key=lambda row: row["size"])
        size = np.array([row["size"] for row in found])
        rate, low, high = (np.array([row[key] for row in found]) for key in ("rate", "low", "high"))
        spread = np.maximum([rate - low, high - rate], 0)
        axis.errorbar(size, rate, spread, fmt="o-", markersize=3.5, capsize=2, color=color, label=name)
    axis.axhline(alpha, color=REFERENCE, linestyle="--", linewidth=1, label="nominal level")
    axis.set(xscale="log", xlabel="rows a side", ylabel="rejection rate", ylim=(-0.03, 1.03))
    sizes = sorted({row["size"] for row in rows})
    axis.set_xticks(sizes, [str(size) for size in sizes])
    axis.minorticks_off()
    axis.set_title("Power by sample size")
    axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8)
    return figure


@in_style
def calibration_figure(calibrations: Mapping[str, Calibration]) -> Figure:
    """Null rejections with the 99 % band (left) and the distribution of null p-values (right).

    Parameters
    ----------
    calibrations : dict of name to Calibration

    Returns
    -------
    Figure
    """
    figure, axes = new_figure(1, 2, width=4.3, height=3.2)
    left, right = axes[0]
    first = next(iter(calibrations.values()))
    repeats = first.rate.repeats
    left.axhspan(100 * first.band[0] / repeats, 100 * first.band[1] / repeats, color=CONTEXT, alpha=0.25, linewidth=0)
    left.axhline(100 * first.rate.alpha, color=REFERENCE, linestyle="--", linewidth=1)
    for i, (color, (name, found)) in enumerate(zip(PALETTE, calibrations.items(), strict=False)):
        rate = found.rate
        error = 100 * np.array([[rate.rate - rate.low], [rate.high - rate.rate]])
        left.errorbar([i], [100 * rate.rate], error, fmt="o", capsize=3, color=color)
        p = np.sort(found.p_values)
        right.step(p, np.arange(1, p.size + 1) / p.size, where="post", color=color, label=name, linewidth=1.1)
    left.set_xticks(range(len(calibrations)), list(calibrations), rotation=30, ha="right", fontsize=8)
    left.set(ylabel="null rejections (%)", ylim=(0, None), title=f"Level over {repeats} null draws")
    right.plot([0, 1], [0, 1], color=REFERENCE, linestyle="--", linewidth=1)
    right.set(xlabel="p-value", ylabel="share of null draws", title="p-values under the null")
    figure.legend(*right.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


@in_style
def probe_matrix_figure(rows: Sequence[Row], *, score: str = "balanced_accuracy") -> Figure:
    """Probe scores on P (left) and on held-out M (right) against training size, median and range over redraws.

    Parameters
    ----------
    rows : sequence of dict
        From `probe_matrix`. Rivals trained elsewhere are drawn as lines.
    score : str

    Returns
    -------
    Figure
    """
    figure, axes = new_figure(1, 2, width=4.3, height=3.4, sharey=True)
    trains = list(dict.fromkeys(row["train"] for row in rows))
    for axis, test, title in zip(axes[0], ("P", "M held out"), ("Scored on P", "Scored on held-out M"), strict=True):
        for color, train in zip(PALETTE, trains, strict=False):
            found = [row for row in rows if row["train"] == train and row["test"] == test]
            sizes = sorted({row["size"] for row in found})
            values = [np.array([row[score] for row in found if row["size"] == size]) for size in sizes]
            if sizes == [0]:
                axis.axhline(np.median(values[0]), color=color, linestyle="-.", linewidth=1.2, label=train)
            elif sizes:
                _spread(axis, sizes, values, color, f"probe trained on {train}")
        axis.set(xscale="log", xlabel="training rows", title=title)
    axes[0, 0].set_ylabel(score.replace("_", " "))
    handles, texts = axes[0, 1].get_legend_handles_labels()
    figure.legend(handles, texts, loc="outside lower center", ncols=3)
    return figure


@in_style
def cue_figure(rates: Mapping[str, Mapping[str, float]]) -> Figure:
    """Rates of the surface marks by source; the lengths are left to the table.

    Parameters
    ----------
    rates : dict of source to dict of cue to rate
        From `cue_rates`.

    Returns
    -------
    Figure
    """
    marks = [cue for cue in CUES if cue not in ("characters", "words")]
    shares = {source: {cue: 100 * values[cue] for cue in marks} for source, values in rates.items()}
    return _bars(shares, "texts with the mark (%)", "Surface cues (capitals: share of letters)")


@in_style
def image_cue_figure(rates: Mapping[str, Mapping[str, float]]) -> Figure:
    """Means of the surface measures of images by source, in gray levels.

    Parameters
    ----------
    rates : dict of source to dict of cue to mean
        From `image_cue_rates`.

    Returns
    -------
    Figure
    """
    return _bars(rates, "gray levels", "Surface measures of the images")


@in_style
def _bars(heights: Mapping[str, Mapping[str, float]], label: str, title: str) -> Figure:
    """Draw a bar for each cue and source."""
    figure, axes = new_figure(width=6.4, height=3.2)
    axis, width = axes[0, 0], 0.8 / len(heights)
    cues = list(next(iter(heights.values())))
    for i, (color, (source, values)) in enumerate(zip(PALETTE, heights.items(), strict=False)):
        place = np.arange(len(cues)) + (i - (len(heights) - 1) / 2) * width
        axis.bar(place, list(values.values()), width, color=color, label=source)
    axis.set_xticks(range(len(cues)), [cue.replace("_", "\n") for cue in cues], fontsize=8)
    axis.set(ylabel=label)
    axis.set_title(title)
    axis.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def _spread(axis: Axes, x: Sequence[float], values: Sequence[np.ndarray], color: str, label: str) -> None:
    middle = np.array([np.median(v) for v in values])
    error = np.array([[m - v.min(), v.max() - m] for m, v in zip(middle, values, strict=True)]).T
    axis.errorbar(x, middle, error, fmt="o-", markersize=3.5, capsize=2, color=color, label=label)
