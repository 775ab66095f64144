"""Figures of curvature while training: sharpness beside the kernel and its threshold, top eigenvalues, densities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from matplotlib.figure import Figure

from analysis.style import CONTEXT, PALETTE, REFERENCE, in_style, new_figure, of_seed

LABELS = {"hessian": "Hessian", "gauss_newton": "Gauss-Newton", "kernel": "kernel / n"}
"""The matrices by name, with what figures call them."""
COLORS = dict(zip(LABELS, PALETTE, strict=False))
STYLES = dict(zip(LABELS, ("-", "--", ":"), strict=True))


@dataclass(frozen=True)
class CurvatureRun:
    """Curvature of one run at its recorded steps.

    Attributes
    ----------
    seed : str
        Name of the run.
    steps : ndarray of int, shape (t,)
        When.
    top : mapping of str to ndarray, shape (t, k)
        Largest eigenvalues of each matrix of ``LABELS`` that was recorded, largest first.
    threshold : ndarray, shape (t,)
        Sharpness at which steps stop being stable; NaN where there is no such number.
    densities : mapping of str to list of (nodes, weights)
        Of the first and the last step, for the Hessian and the Gauss-Newton matrix.
    """

    seed: str
    steps: Int[np.ndarray, " t"]
    top: Mapping[str, Float[np.ndarray, "t k"]]
    threshold: Float[np.ndarray, " t"]
    densities: Mapping[str, Sequence[tuple[np.ndarray, np.ndarray]]]


@in_style
def sharpness_figure(groups: Mapping[str, Sequence[CurvatureRun]]) -> Figure:
    """Draw the largest eigenvalue of each matrix over training, one panel per group, with the edge of stability."""
    figure, axes = new_figure(1, len(groups), sharey=True)
    for axis, (name, runs) in zip(axes[0], groups.items(), strict=True):
        for place, run in enumerate(runs):
            for matrix, values in run.top.items():
                label = LABELS[matrix] if place == 0 else None
                lines = axis.plot(run.steps, values[:, 0], STYLES[matrix], color=COLORS[matrix], alpha=0.8, label=label)
                of_seed(lines, run.seed)
        if np.isfinite(runs[0].threshold).any():
            axis.plot(runs[0].steps, runs[0].threshold, color=REFERENCE, linewidth=1.0, label="edge of stability")
        axis.set_xscale("symlog", linthresh=1)
        axis.set_yscale("log")
        axis.set(title=name, xlabel="training step", ylabel="largest eigenvalue")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    for axis in axes[0, 1:]:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            if label not in labels:
                handles, labels = [*handles, handle], [*labels, label]
    figure.legend(handles, labels, loc="outside lower center", ncols=4)
    return figure


@in_style
def rank_figure(groups: Mapping[str, Sequence[CurvatureRun]]) -> Figure:
    """Draw the largest eigenvalues of every matrix at the last step by their rank, one panel per group."""
    figure, axes = new_figure(1, len(groups), sharey=True)
    for axis, (name, runs) in zip(axes[0], groups.items(), strict=True):
        for place, run in enumerate(runs):
            for matrix, values in run.top.items():
                last = values[-1]
                lines = axis.plot(
                    np.arange(1, len(last) + 1)[last > 0],
                    last[last > 0],
                    STYLES[matrix],
                    color=COLORS[matrix],
                    marker="o",
                    markersize=3,
                    alpha=0.8,
                    label=LABELS[matrix] if place == 0 else None,
                )
                of_seed(lines, run.seed)
        axis.set_yscale("log")
        axis.set(title=name, xlabel="rank", ylabel="eigenvalue at the last step")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


@in_style
def density_figure(groups: Mapping[str, CurvatureRun]) -> Figure:
    """Draw the spectral densities of both matrices at the first and last step, one column per group.

    Each quadrature node is a Gaussian of 1 % of the drawn range (Ghorbani et al. 2019, section 2). The horizontal axis
    is linear near zero and logarithmic on both sides.
    """
    matrices = [name for name in ("hessian", "gauss_newton") if all(run.densities.get(name) for run in groups.values())]
    figure, axes = new_figure(len(matrices), len(groups), sharey=True)
    for column, (name, run) in enumerate(groups.items()):
        for row, matrix in enumerate(matrices):
            axis = axes[row, column]
            for (nodes, weights), color, label in zip(
                run.densities[matrix], (CONTEXT, COLORS[matrix]), ("first step", "last step"), strict=True
            ):
                if np.isfinite(nodes).all():
                    axis.plot(*smoothed_density(nodes, weights), color=color, label=label)
            axis.set_yscale("log")
            axis.set_ylim(bottom=1e-7, top=3)
            axis.set_xscale("symlog", linthresh=1e-2)
            axis.set(title=f"{name}, {LABELS[matrix]}", xlabel="eigenvalue", ylabel="share of eigenvalues")
            axis.legend(loc="upper right", fontsize=8)
    return figure


def smoothed_density(
    nodes: Float[np.ndarray, " k"], weights: Float[np.ndarray, " k"], points: int = 600, width: float = 0.04
) -> tuple[Float[np.ndarray, " q"], Float[np.ndarray, " q"]]:
    """Smooth weighted nodes for a figure whose axis is linear below 0.01 and logarithmic beyond.

    Parameters
    ----------
    nodes, weights : ndarray, shape (k,)
        Of a quadrature; the weights sum to one.
    points : int
        Of the curve.
    width : float
        Standard deviation of each node's Gaussian, in units of the drawn axis (a decade, beyond 0.01).

    Returns
    -------
    ndarray and ndarray, shape (points,)
        Eigenvalues, and the share of all eigenvalues within one width of the axis, about.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.spectra.curvature_figures import smoothed_density
    >>> x, height = smoothed_density(np.array([0.0, 10.0]), np.array([0.9, 0.1]))
    >>> float(x[height.argmax()].round(2)), float((height.max() / height[np.abs(x - 10).argmin()]).round(1))
    (-0.0, 9.0)
    """
    places = _on_axis(nodes)
    grid = np.linspace(places.min() - 6 * width, places.max() + 6 * width, points)
    kernel = np.exp(-0.5 * ((grid[:, None] - places[None]) / width) ** 2)
    return _off_axis(grid), kernel @ weights


def _on_axis(values: np.ndarray, linear: float = 1e-2) -> np.ndarray:
    size = np.abs(values)
    beyond = 1 + np.log10(np.maximum(size, linear) / linear)
    return np.sign(values) * np.where(size < linear, size / linear, beyond)


def _off_axis(places: np.ndarray, linear: float = 1e-2) -> np.ndarray:
    size = np.abs(places)
    return np.sign(places) * np.where(size < 1, size * linear, linear * 10 ** (np.maximum(size, 1) - 1))
