"""Figure of loss and error on the straight line between networks, without and with matched units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from analysis.style import PALETTE, in_style, new_figure

LABELS = {"none": "as they are", "weights": "units matched by weights", "activations": "units matched by activations"}
"""Ways to match, with what figures call them."""
COLORS = dict(zip(LABELS, PALETTE, strict=False))

Paths = Mapping[str, Float[np.ndarray, "p k"]]
"""From a way to match to one row for each pair of networks."""


@in_style
def path_figure(groups: Mapping[str, Mapping[str, Paths]], measures: Sequence[str]) -> Figure:
    """Draw every measure along the path, one row of panels per measure and one column per group.

    Parameters
    ----------
    groups : mapping
        From a group to its measures, each with the values along the path by way to match: the mean over pairs as a
        line, the range as a band.
    measures : sequence of str
        Names of the measures, which label the axes.
    """
    figure, axes = new_figure(len(measures), len(groups), sharey=True)
    for column, (name, found) in enumerate(groups.items()):
        for row, measure in enumerate(measures):
            axis = axes[row, column]
            for matching, values in found[measure].items():
                places = np.linspace(0, 1, values.shape[1])
                axis.plot(places, values.mean(0), color=COLORS[matching], label=LABELS[matching])
                if len(values) > 1:
                    axis.fill_between(places, values.min(0), values.max(0), color=COLORS[matching], alpha=0.18, lw=0)
            axis.set_ylim(bottom=0)
            axis.set(title=name, xlabel="place α on the line between two networks", ylabel=measure)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=1 if len(groups) == 1 else len(labels))
    return figure
