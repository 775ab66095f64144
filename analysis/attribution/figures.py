"""Figures of surrogates and attributions: galleries, confidence scatter, sparsity, precision and recall."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float, Int
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from sklearn.metrics import precision_recall_curve

from analysis.style import CONTEXT, INK, PALETTE, REFERENCE, in_style, legend_below, new_figure

_AGREE, _DIFFER = PALETTE[0], PALETTE[1]


@in_style
def confidence_scatter(
    network: Float[np.ndarray, " n"],
    surrogate: Float[np.ndarray, " n"],
    right: Bool[np.ndarray, " n"],
    *,
    tau: float,
    title: str = "Log-odds of the true class",
    limit: int = 4000,
) -> Figure:
    """Plot the surrogate's log-odds of the true class against the network's, errors of the network apart.

    At most `limit` points of each kind are drawn (the first ones).
    """
    figure, axes = new_figure(1, 1, width=4.4, height=3.6)
    scatter_confidences(axes[0, 0], network, surrogate, right, title=f"{title}   τ = {tau:.3f}", limit=limit)
    return figure


def scatter_confidences(
    axis: Axes,
    network: Float[np.ndarray, " n"],
    surrogate: Float[np.ndarray, " n"],
    right: Bool[np.ndarray, " n"],
    *,
    title: str,
    limit: int = 4000,
) -> None:
    """Draw into one panel what `confidence_scatter` draws."""
    parts = ((right, CONTEXT, "network right", 8.0), (~right, _DIFFER, "network wrong", 14.0))
    for part, color, name, size in parts:
        x, y = network[part][:limit], surrogate[part][:limit]
        axis.scatter(x, y, s=size, color=color, alpha=0.6, lw=0, label=f"{name} ({part.sum()})", rasterized=True)
    axis.axhline(0, color=REFERENCE, lw=0.6)
    axis.axvline(0, color=REFERENCE, lw=0.6)
    axis.set_xlabel("network: log(p / (1 - p))")
    axis.set_ylabel("surrogate: log(p / (1 - p))")
    axis.set_title(title)
    legend_below(axis, columns=2)


@in_style
def share_curves(curves: Mapping[str, tuple[Int[np.ndarray, " j"], Float[np.ndarray, "3 j"]]]) -> Figure:
    """Plot finished sparsity curves: numbers of points, and the quartiles of the share that they carry."""
    figure, axes = new_figure(1, 1, width=4.8, height=3.4)
    axis = axes[0, 0]
    largest = 1
    for color, (name, (points, (low, middle, high))) in zip(_cycle(len(curves)), curves.items(), strict=True):
        axis.plot(points, middle, color=color, label=name)
        axis.fill_between(points, low, high, color=to_rgba(color, 0.2), lw=0)
        largest = max(largest, int(points[-1]))
    for share in (0.5, 0.8, 0.95):
        axis.axhline(share, color=CONTEXT, lw=0.8, ls=":")
        axis.annotate(f"{share:.0%}", (1, share), xytext=(2, 2), textcoords="offset points", fontsize=7, color=INK)
    axis.set_xscale("log")
    axis.set_xlim(1, max(largest, 2))
    axis.set_ylim(0, 1.02)
    axis.set_xlabel("strongest training points")
    axis.set_ylabel("share of |attribution|")
    axis.set_title("Sparsity: median and quartiles over test points")
    legend_below(axis, columns=2)
    return figure


@in_style
def precision_recall_curves(
    scores: Mapping[str, Float[np.ndarray, " n"]], mask: Bool[np.ndarray, " n"], *, title: str
) -> Figure:
    """Plot step-wise precision against recall of each method for one mask, with the prevalence as baseline."""
    figure, axes = new_figure(1, 1, width=4.8, height=3.6)
    axis = axes[0, 0]
    for color, (name, values) in zip(_cycle(len(scores)), scores.items(), strict=True):
        precision, recall, _ = precision_recall_curve(mask, values)
        area = float(-np.sum(np.diff(recall) * precision[:-1]))
        precision[-1] = precision[-2]  # recall 0 has no precision; scikit-learn appends 1 there
        axis.step(recall, precision, where="post", color=color, label=f"{name} (AUPRC {area:.3f})")
    axis.axhline(mask.mean(), color=REFERENCE, lw=0.9, ls="--", label=f"prevalence {mask.mean():.3f}")
    axis.set_xlim(0, 1)
    axis.set_ylim(0, 1.03)
    axis.set_xlabel("recall")
    axis.set_ylabel("precision")
    axis.set_title(title)
    legend_below(axis, columns=2)
    return figure


@in_style
def interval_bars(
    values: Mapping[str, tuple[float, float, float]], *, label: str, title: str, reference: float | None = None
) -> Figure:
    """Plot one value with its interval per method: τ by kernel, LDS, margin change after dropping points.

    Parameters
    ----------
    values : mapping of str to (value, low, high)
        In the order drawn, top to bottom.
    label : str
        Quantity and unit on the horizontal axis.
    reference : float or None
        Vertical reference line, such as 0 or a noise ceiling.
    """
    figure, axes = new_figure(1, 1, width=4.8, height=0.9 + 0.34 * max(len(values), 2))
    draw_intervals(axes[0, 0], values, label=label, title=title, reference=reference)
    return figure


def draw_intervals(
    axis: Axes,
    values: Mapping[str, tuple[float, float, float]],
    *,
    label: str,
    title: str,
    reference: float | None = None,
) -> None:
    """Draw into one panel what `interval_bars` draws."""
    for place, (value, low, high) in enumerate(values.values()):
        axis.plot([low, high], [place, place], color=_AGREE, lw=2, solid_capstyle="butt")
        axis.plot(value, place, "o", color=_AGREE, ms=5)
        axis.annotate(
            f"{value:.3f}", (value, place), xytext=(0, 5), textcoords="offset points", fontsize=7, ha="center"
        )
    if reference is not None:
        axis.axvline(reference, color=REFERENCE, lw=0.9, ls="--")
    setattr(axis, "across", True)  # noqa: B010
    axis.set_yticks(range(len(values)), list(values))
    axis.set_ylim(len(values) - 0.4, -0.7)
    axis.set_xlabel(label)
    axis.set_title(title)


@in_style
def attack_curves(radii: Sequence[float], curves: Mapping[str, Mapping[str, Sequence[float]]]) -> Figure:
    """Plot accuracy against the radius of attacks, one panel for each source of attacks.

    Parameters
    ----------
    radii : sequence of float
        L∞ radii in pixels of [0, 1].
    curves : mapping of str to mapping of str to sequence of float
        Source of the attack to machine to accuracy in [0, 1] at each radius.
    """
    figure, axes = new_figure(1, len(curves), width=2.9, height=2.6, sharey=True)
    for axis, (source, lines) in zip(axes[0], curves.items(), strict=True):
        for color, (name, values) in zip(_cycle(len(lines)), lines.items(), strict=True):
            axis.plot(radii, [100 * value for value in values], "o-", color=color, ms=4, label=name)
        axis.set_title(f"through the {source}", fontsize=9)
        axis.set_xlabel("L∞ radius, pixels of [0, 1]")
        axis.set_ylim(-4, 104)
    axes[0, 0].set_ylabel("accuracy, %")
    axes[0, 0].legend(fontsize=8)
    return figure


def _cycle(count: int) -> list[str]:
    return [PALETTE[i % len(PALETTE)] for i in range(count)]
