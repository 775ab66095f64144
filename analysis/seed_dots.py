"""The figure on one number of several groups of runs: each seed as a dot, each group's mean with its interval."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from analysis.style import CONTEXT, REFERENCE, SEEDS_NAMED, in_style, new_figure, of_seed, seed_color, seed_legend

_NAME = 22
"""Letters of a line of a group's name."""


@in_style
def seed_dots(
    groups: Mapping[str, Mapping[str, float]],
    intervals: Mapping[str, tuple[float, float, float]],
    *,
    label: str,
    title: str,
    within: tuple[float, float] | None = None,
    reference: float | None = None,
    seeded: bool = True,
) -> Figure:
    """Draw every run of every group over one axis, with the mean of the group and its interval.

    Parameters
    ----------
    groups : mapping of str to mapping of str to float
        From a group to the number of each of its seeds, top to bottom. A seed has one color in all groups.
    intervals : mapping of str to (mean, low, high)
        Of each group; ends may be NaN.
    label, title : str
        Name and unit of the number, and what the figure is about.
    within : tuple of two float, optional
        Range of the number: the axis shows nothing beyond it.
    reference : float, optional
        Value of a vertical line.
    seeded : bool
        Whether runs are seeds, of which a page brings out one in all figures; else they are drawn alike.

    Returns
    -------
    Figure

    Examples
    --------
    >>> from analysis.seed_dots import seed_dots
    >>> runs = {"mlp": {"0": 6.1, "1": 6.9}, "resnet18": {"0": 13.0, "1": 14.8}}
    >>> means = {"mlp": (6.5, 5.2, 7.9), "resnet18": (13.9, 10.4, 17.8)}
    >>> len(seed_dots(runs, means, label="disagreement, %", title="How far seeds differ").axes)
    1
    """
    seeds = list(dict.fromkeys(seed for runs in groups.values() for seed in runs))
    legend = 0.2 * (
        0 if not seeded or len(seeds) < 2 else 1 if len(seeds) < 6 else 2 if len(seeds) <= SEEDS_NAMED else 3
    )
    figure, axes = new_figure(width=4.8, height=1.1 + 0.5 * len(groups) + legend)
    axis = axes[0, 0]
    for place, (name, runs) in enumerate(groups.items()):
        mean, low, high = intervals[name]
        if np.isfinite(low) and np.isfinite(high):
            axis.plot([low, high], [place + 0.24] * 2, color=CONTEXT, linewidth=4, solid_capstyle="butt")
        axis.plot([mean], [place + 0.24], marker="d", markersize=5.5, color=REFERENCE)
        for seed, value in runs.items():
            order = seeds.index(seed)
            rise = 0.0 if len(seeds) == 1 else 0.3 * order / (len(seeds) - 1)
            color = seed_color(order if seeded else 0)
            (dot,) = axis.plot([value], [place - 0.3 + rise], "o", color=color, markersize=5, alpha=0.9)
            if seeded:
                of_seed(dot, seed)
    if reference is not None:
        axis.axvline(reference, color=REFERENCE, linewidth=0.9, linestyle="--")
    axis.across = True
    axis.set_yticks(range(len(groups)), ["\n".join(textwrap.wrap(name, _NAME)) or name for name in groups])
    axis.set_ylim(len(groups) - 0.4, -0.6)
    axis.grid(axis="y", visible=False)
    axis.set(xlabel=label, title=title)
    if within is not None:
        low, high = axis.get_xlim()
        axis.set_xlim(max(low, within[0] - 0.01 * (high - low)), min(high, within[1] + 0.01 * (high - low)))
    if seeded:
        seed_legend(axis, seeds, inches=0.4)
    return figure
