"""Figures of spectral evolution: before and after, over steps, tails with their null, loss by class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import gaussian_kde

from analysis.spectra.deformed_laws import DeformedMarchenkoPastur
from analysis.spectra.marchenko_pastur import MarchenkoPastur
from analysis.spectra.power_law import PowerLawFit
from analysis.style import CONTEXT, PALETTE, PAPER, REFERENCE, in_style, new_figure

Law = MarchenkoPastur | DeformedMarchenkoPastur


@dataclass(frozen=True)
class SpectrumPanel:
    """One panel of `figure_spectra`.

    Attributes
    ----------
    title : str
        Such as the optimizer and its rate.
    before, after : ndarray (k,)
        Eigenvalues at the start and at the end.
    law : MarchenkoPastur or DeformedMarchenkoPastur, optional
        Limit law of the start.
    threshold : float, optional
        Eigenvalue above which one counts as an outlier.
    """

    title: str
    before: Float[np.ndarray, " k"]
    after: Float[np.ndarray, " k"]
    law: Law | None = None
    threshold: float | None = None


@in_style
def figure_spectra(panels: Sequence[SpectrumPanel], xlabel: str = "eigenvalue") -> Figure:
    """Draw spectra before and after training with the law, the edge, and each outlier as a tick.

    The horizontal axis ends slightly beyond the bulk unless an outlier is further out; it is then
    logarithmic, so that bulk and outliers are both readable.
    """
    if not panels:
        raise ValueError("no spectra to draw: give at least one panel")
    figure, axes = new_figure(1, len(panels), width=4.4, height=3.2)
    for axis, panel in zip(axes[0], panels, strict=True):
        bins = int(np.clip(panel.before.size // 5, 14, 60))
        bulk = panel.threshold or float(np.max(panel.before)) * 1.02
        top = max(float(np.max(panel.after)), bulk)
        positive = panel.before[panel.before > 1e-9 * bulk]
        low = float(np.min(positive))
        if far := top > 2.5 * bulk:
            grid = np.geomspace(max(low, 1e-3 * bulk), top * 1.3, bins + 1)
            axis.set_xscale("log")
        else:
            grid = np.linspace(0.0, max(top, bulk) * 1.05, bins + 1)
        scale = np.diff(np.log(grid)) if far else np.diff(grid)
        for values, color, label in (
            (panel.before, CONTEXT, "before"),
            (panel.after, PALETTE[0], "after"),
        ):
            height = np.histogram(values, grid)[0] / (values.size * scale)
            if label == "before":
                axis.stairs(height, grid, fill=True, color=color, alpha=0.55, label=label)
            else:
                axis.stairs(height, grid, color=color, linewidth=1.6, label=label)
        if panel.law is not None:
            x = grid[0] + (grid[-1] - grid[0]) * np.linspace(1e-4, 1, 600)
            x = np.geomspace(grid[0], grid[-1], 600) if far else x
            density = panel.law.density(x) * (x if far else 1.0)
            axis.plot(x, density, color=REFERENCE, linewidth=1.1, label="limit law")
        if panel.threshold is not None:
            axis.axvline(panel.threshold, color=PALETTE[1], linewidth=1.0, linestyle="--", label="edge")
            out = panel.after[panel.after > panel.threshold]
            marks = axis.get_xaxis_transform()
            axis.plot(out, np.full(out.size, 0.04), "|", color=PALETTE[1], transform=marks, markersize=11)
            count = f"\n{out.size} outlier{'' if out.size == 1 else 's'}"
            axis.set_title(panel.title + count, loc="left")
        else:
            axis.set_title(panel.title, loc="left")
        _cap_height(axis, panel, grid, scale)
        axis.set_xlabel(xlabel)
        axis.set_ylabel("density per log unit" if far else "density")
    _legend_under(figure, axes[0, 0])
    return figure


def _legend_under(figure: Figure, axis: Axes, columns: int = 4) -> None:
    """Put one legend for all panels under the figure."""
    handles, labels = axis.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(columns, max(1, len(labels))), frameon=False)


def _cap_height(axis: Axes, panel: SpectrumPanel, grid: np.ndarray, scale: np.ndarray) -> None:
    """Keep an atom at zero from flattening the rest of the histogram."""
    heights = [np.histogram(v, grid)[0][1:] / (v.size * scale[1:]) for v in (panel.before, panel.after)]
    axis.set_ylim(0, 1.12 * max(float(h.max()) for h in heights))


@in_style
def figure_waterfall(
    spectra: Float[np.ndarray, "t k"],
    steps: Sequence[int],
    threshold: float | None = None,
    title: str = "Spectrum over training",
    xlabel: str = "eigenvalue",
) -> Figure:
    """Draw one ridge per snapshot, first at the bottom, with outliers as dots on its base line.

    Parameters
    ----------
    spectra : ndarray (t, k)
        Eigenvalues at each snapshot; rows with NaN are left out (diverged).
    steps : sequence of int
        Their steps.
    threshold : float, optional
        Outlier threshold.
    """
    if len(steps) != len(spectra):
        raise ValueError(f"{len(spectra)} spectra but {len(steps)} steps")
    kept = [(step, row) for step, row in zip(steps, spectra, strict=True) if np.all(np.isfinite(row))]
    if not kept:
        raise ValueError("every snapshot holds NaN: all runs diverged before the first one")
    figure, axes = new_figure(width=5.4, height=0.9 + 0.32 * len(kept))
    axis = axes[0, 0]
    bulk = threshold or float(np.max(kept[0][1])) * 1.02
    top = max(float(max(row.max() for _, row in kept)), bulk)
    far = top > 2.5 * bulk
    grid = np.linspace(0, bulk * 1.15, 300)
    curves = [gaussian_kde(row[row <= bulk * 1.15], bw_method=0.06)(grid) for _, row in kept]
    unit = 1.6 / max(float(np.quantile(c, 0.98)) for c in curves)
    for level, ((_, row), curve) in enumerate(zip(kept, curves, strict=True)):
        color = PALETTE[0]
        height = level + curve * unit
        axis.fill_between(grid, level, height, color=PAPER, zorder=2 * (len(kept) - level), alpha=0.85)
        axis.plot(grid, height, color=color, linewidth=1.0, zorder=2 * (len(kept) - level) + 1)
        out = row[row > bulk] if threshold else row[:0]
        axis.plot(out, np.full(out.size, level), "o", color=PALETTE[1], markersize=3.2, zorder=100)
    if threshold:
        axis.axvline(threshold, color=PALETTE[1], linewidth=1.0, linestyle="--", zorder=101)
    axis.set_yticks(range(len(kept)), [f"{step:,}" for step, _ in kept])
    axis.tick_params(axis="y", length=0)
    axis.grid(False)
    if far:
        axis.set_xscale("symlog", linthresh=bulk * 1.15, linscale=2.0)
    axis.set_xlim(0, top * 1.08)
    axis.set_ylabel("step")
    axis.set_xlabel(xlabel + (" (logarithmic beyond the bulk)" if far else ""))
    axis.set_title(title, loc="left")
    return figure


@dataclass(frozen=True)
class Curve:
    """A quantity of one run setting over steps, one row per seed; NaN where a seed diverged."""

    steps: Int[np.ndarray, " t"]
    values: Float[np.ndarray, "s t"]


@in_style
def figure_over_steps(panels: Mapping[str, Mapping[str, Curve]]) -> Figure:
    """Draw quantities such as alignment and kernel-target alignment over training.

    Parameters
    ----------
    panels : mapping
        From a panel's vertical label to the curves of each run setting: mean over seeds as a line, the
        range over seeds as a band. Step 0 stands at the left end of a logarithmic axis.
    """
    if not panels:
        raise ValueError("no quantity to draw over steps")
    figure, axes = new_figure(1, len(panels), width=4.2, height=3.2)
    for axis, (label, curves) in zip(axes[0], panels.items(), strict=True):
        for index, (name, curve) in enumerate(curves.items()):
            seen = np.any(np.isfinite(curve.values), axis=0)
            x, y = curve.steps[seen], curve.values[:, seen]
            color = PALETTE[index % len(PALETTE)]
            axis.plot(x, np.nanmean(y, axis=0), color=color, label=name, marker="o", markersize=2.5)
            if len(y) > 1:
                axis.fill_between(x, np.nanmin(y, axis=0), np.nanmax(y, axis=0), color=color, alpha=0.18, lw=0)
        axis.set_xscale("symlog", linthresh=1)
        axis.set_xlim(left=0)
        axis.set_xlabel("step")
        axis.set_ylabel(label)
    _legend_under(figure, axes[0, 0])
    return figure


CLASSES = ("invariant", "bulk+spike", "mixed", "heavy/deformed")
"""Order of the classes on an axis."""


@in_style
def figure_loss_by_class(
    classes: Sequence[str],
    losses: Float[np.ndarray, " r"],
    settings: Sequence[str],
    reference: tuple[str, float] | None = None,
) -> Figure:
    """Draw the test error of every run over the class of its spectrum, colored by run setting.

    Parameters
    ----------
    classes, losses, settings
        One entry per run. Diverged and undecided runs are counted in the title and not drawn.
    reference : (str, float), optional
        Name and value of a horizontal line, such as the best linear model.
    """
    if not len(classes) == len(losses) == len(settings):
        raise ValueError(f"{len(classes)} classes, {len(losses)} losses and {len(settings)} settings differ")
    figure, axes = new_figure(width=6.0, height=3.4)
    axis = axes[0, 0]
    names = list(dict.fromkeys(settings))
    offsets = np.linspace(-0.25, 0.25, len(names)) if len(names) > 1 else np.zeros(1)
    for index, name in enumerate(names):
        points = [
            (CLASSES.index(label) + offsets[index], loss)
            for label, loss, setting in zip(classes, losses, settings, strict=True)
            if setting == name and label in CLASSES
        ]
        if points:
            x, y = np.array(points).T
            axis.plot(x, y, "o", color=PALETTE[index % len(PALETTE)], markersize=5, alpha=0.85, label=name)
    if reference is not None:
        axis.axhline(reference[1], color=REFERENCE, linewidth=1.0, linestyle=":", label=reference[0])
    absent = sum(label not in CLASSES for label in classes)
    axis.set_title(
        "Test error by spectral class" + (f" ({absent} diverged or undecided)" if absent else ""), loc="left"
    )
    axis.set_xticks(range(len(CLASSES)), CLASSES)
    axis.set_xlim(-0.5, len(CLASSES) - 0.5)
    axis.set_ylabel("mean squared test error")
    _legend_under(figure, axis)
    return figure


@in_style
def figure_tail(
    eigenvalues: Float[np.ndarray, " n"],
    fit: PowerLawFit,
    null: Float[np.ndarray, "r n"],
    title: str = "Tail of the spectrum",
    reported: bool = True,
) -> Figure:
    """Draw the survival function on log-log axes with the fitted tail and the range of simulated noise.

    Parameters
    ----------
    eigenvalues : ndarray (n,)
    fit : PowerLawFit
    null : ndarray (r, n)
        Spectra of noise of the same shape and variance, sorted alike.
    reported : bool
        False draws the fit dashed and says that it is not distinguishable from the null.
    """
    figure, axes = new_figure(width=4.8, height=3.4)
    axis = axes[0, 0]
    ordered = np.sort(eigenvalues)
    survival = 1 - np.arange(ordered.size) / ordered.size
    noise = np.sort(null, axis=1)
    axis.fill_betweenx(
        1 - np.arange(noise.shape[1]) / noise.shape[1],
        noise.min(0),
        noise.max(0),
        color=CONTEXT,
        alpha=0.5,
        lw=0,
        label=f"noise, {len(noise)} draws",
    )
    axis.plot(ordered, survival, ".", color=PALETTE[0], markersize=3, label="spectrum")
    x = np.geomspace(fit.x_min, ordered[-1], 50)
    label = f"power law, α = {fit.alpha:.2f}" if reported else "power law: like the null"
    tail = fit.tail / ordered.size * (x / fit.x_min) ** (1 - fit.alpha)
    axis.plot(x, tail, color=PALETTE[1], linestyle="-" if reported else "--", label=label)
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_ylim(0.5 / ordered.size, 1.5)
    axis.set_xlabel("eigenvalue")
    axis.set_ylabel("share of eigenvalues above")
    axis.set_title(title, loc="left")
    axis.legend(loc="lower left", frameon=False)
    return figure


@in_style
def figure_norm_scaling(
    sizes: Int[np.ndarray, " m"], norms: Mapping[str, Float[np.ndarray, "s m"]], title: str = "Size of the change"
) -> Figure:
    """Draw norms of the weight change against the number of samples at fixed ratios: flat lines mean order one.

    Parameters
    ----------
    sizes : ndarray (m,)
    norms : mapping
        From a label to one row per seed.
    """
    figure, axes = new_figure(width=4.8, height=3.2)
    axis = axes[0, 0]
    for index, (name, values) in enumerate(norms.items()):
        mean, low, high = np.nanmean(values, axis=0), np.nanmin(values, axis=0), np.nanmax(values, axis=0)
        spread = np.maximum([mean - low, high - mean], 0)  # the mean of equal numbers can round beyond them
        axis.errorbar(sizes, mean, yerr=spread, color=PALETTE[index % len(PALETTE)], marker="o", label=name)
    axis.set_xscale("log")
    axis.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axis.minorticks_off()
    axis.set_ylim(bottom=0)
    axis.set_xlabel("samples n, at fixed n/d and h/d")
    axis.set_ylabel("norm of the change / √d")
    axis.set_title(title, loc="left")
    _legend_under(figure, axis)
    return figure
