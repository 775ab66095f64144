"""Figures of the kernel-regression study: test error by epoch, functions and residuals, decay, logistic fits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from analysis.regression.regularity import EigenvalueDecay
from analysis.style import CONTEXT, PALETTE, REFERENCE, in_style, new_figure

MACHINES = {"nn": "network", "ck": "CK", "ck_svd": "CK (features)", "ntk": "NTK"}
_COLORS = {"nn": REFERENCE, "ck": PALETTE[0], "ck_svd": PALETTE[4], "ntk": PALETTE[1]}
Row = Mapping[str, Any]
WINDOWS = 100
"""Parts of the interval, of each of which the largest error is drawn."""


@in_style
def error_by_epoch_figure(
    rows: Sequence[Row], panels: Sequence[tuple[str, str]], *, value: str = "test_rms", label: str = "test RMSE"
) -> Figure:
    """Test error against epoch, one panel per (activation, target), median and range over seeds.

    Parameters
    ----------
    rows : sequence of dict
        Keys activation, target, machine (nn, ck, ck_svd, ntk), epoch, seed and `value`.
    panels : sequence of (activation, target)
    value, label : str
        Column to draw and its name on the axis.

    Returns
    -------
    Figure
    """
    columns = 2 if len(panels) == 4 else min(3, len(panels))
    figure, axes = new_figure(-(-len(panels) // columns), columns, width=3.5, height=2.8)
    for axis, (activation, target) in zip(axes.flat, panels, strict=False):
        here = [r for r in rows if r["activation"] == activation and r["target"] == target]
        for machine, name in MACHINES.items():
            found = [r for r in here if r["machine"] == machine]
            if not found:
                continue
            epochs = sorted({r["epoch"] for r in found})
            runs = [[r[value] for r in found if r["epoch"] == e and np.isfinite(r[value])] for e in epochs]
            kept = [(e, run) for e, run in zip(epochs, runs, strict=True) if run]
            x = [e for e, _ in kept]
            axis.plot(x, [np.median(run) for _, run in kept], color=_COLORS[machine], label=name)
            low, high = [min(run) for _, run in kept], [max(run) for _, run in kept]
            axis.fill_between(x, low, high, color=_COLORS[machine], alpha=0.15, linewidth=0)
        axis.set(yscale="log", xlabel="epoch", ylabel=label)
        axis.set_title(f"{activation}, {target}")
    for axis in axes.flat[len(panels) :]:
        axis.set_visible(False)
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4)
    return figure


@in_style
def residual_figure(
    x: Float[np.ndarray, " m"],
    target: Float[np.ndarray, " m"],
    predictions: Mapping[str, Float[np.ndarray, " m"]],
    train: Float[np.ndarray, " n"],
) -> Figure:
    """Functions (left) and absolute errors on a log axis (right), the largest of neighboring points, over the interval.

    Parameters
    ----------
    x, target : ndarray, shape (m,)
    predictions : dict of machine to ndarray, shape (m,)
        Keys nn, ck, ck_svd, ntk.
    train : ndarray, shape (n,)
        Training points, drawn as a rug; beyond the last one the machines extrapolate.

    Returns
    -------
    Figure
    """
    figure, axes = new_figure(1, 2, width=4.6, height=3.2)
    left, right = axes[0]
    left.plot(x, target, color=CONTEXT, linewidth=4, alpha=0.6, label="target")
    for machine, values in predictions.items():
        left.plot(x, values, color=_COLORS[machine], linewidth=1.1, label=MACHINES[machine])
        # of neighbors the largest: a machine that hits its training points would draw a line down at each of them
        parts = np.array_split(np.arange(x.size), min(x.size, WINDOWS))
        error = np.maximum(np.abs(values - target), 1e-16)  # exact hits would vanish from a log axis
        right.plot(
            [x[part].mean() for part in parts],
            [error[part].max() for part in parts],
            color=_COLORS[machine],
            linewidth=0.9,
        )
    left.plot(train, np.full(train.size, left.get_ylim()[0]), "|", color=CONTEXT, markersize=4)
    right.axvspan(train.max(), x.max(), color=CONTEXT, alpha=0.3, linewidth=0)
    left.set(xlabel="x", ylabel="f(x)", title="Target and fits")
    right.set(xlabel="x", ylabel="absolute error", yscale="log", title="Largest errors nearby (gray: extrapolation)")
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=5)
    return figure


@in_style
def decay_figure(decays: Mapping[str, EigenvalueDecay]) -> Figure:
    """Eigenvalues against index on log axes with the fitted window of each kernel.

    Parameters
    ----------
    decays : dict of str to EigenvalueDecay
        By name of the kernel.

    Returns
    -------
    Figure
    """
    figure, axes = new_figure(width=5.4, height=3.6)
    axis = axes[0, 0]
    for color, (name, decay) in zip(PALETTE, decays.items(), strict=False):
        values = decay.eigenvalues[: decay.numerical_rank]
        index = np.arange(1, values.size + 1)
        text = "below rounding in the window" if np.isnan(decay.slope) else f"slope {decay.slope:.1f}"
        axis.plot(index, values / values[0], ".", color=color, markersize=3, label=f"{name}: {text}")
        if not np.isnan(decay.slope):
            first, last = decay.window
            span = np.arange(first, last + 1)
            middle = np.exp(np.mean(np.log(values[first - 1 : last])) - decay.slope * np.mean(np.log(span)))
            axis.plot(span, middle * span**decay.slope / values[0], color=color, linewidth=1.2)
    axis.set(xscale="log", yscale="log", xlabel="index i", ylabel=r"$\lambda_i / \lambda_1$")
    axis.set_title("Eigenvalue decay on a uniform grid")
    axis.legend(fontsize=8)
    return figure


@in_style
def logistic_figure(rows: Sequence[Row]) -> Figure:
    """Test cross-entropy and accuracy against epoch, mean and standard deviation over the runs still training.

    Parameters
    ----------
    rows : sequence of dict
        Keys machine, epoch, run, cross_entropy (nats), accuracy. Runs that stopped earlier are absent from later
        epochs, never zero-filled; where some stopped, the number that remain is drawn beside.

    Returns
    -------
    Figure
    """
    epochs = sorted({r["epoch"] for r in rows})
    remaining = [len({r["run"] for r in rows if r["epoch"] == e}) for e in epochs]
    stopped = len({*remaining}) > 1
    figure, axes = new_figure(1, 3 if stopped else 2, width=3.4, height=3.0)
    for axis, key, label in zip(
        axes[0, :2], ("cross_entropy", "accuracy"), ("test cross-entropy (nats)", "test accuracy"), strict=True
    ):
        for machine, name in MACHINES.items():
            runs = [[r[key] for r in rows if r["machine"] == machine and r["epoch"] == e] for e in epochs]
            if not any(runs):
                continue
            mean = np.array([np.mean(run) if run else np.nan for run in runs])
            deviation = np.array([np.std(run, ddof=1) if len(run) > 1 else 0.0 for run in runs])
            axis.plot(epochs, mean, color=_COLORS[machine], label=name)
            low, high = mean - deviation, mean + deviation
            axis.fill_between(epochs, low, high, color=_COLORS[machine], alpha=0.15, linewidth=0)
        axis.set(xlabel="epoch", ylabel=label)
    axes[0, 0].set(title="Cross-entropy")
    axes[0, 1].set(title="Accuracy")
    if stopped:
        axes[0, 2].step(epochs, remaining, where="post", color=CONTEXT)
        axes[0, 2].set(xlabel="epoch", ylabel="runs", title="Runs still training", ylim=(0, None))
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure
