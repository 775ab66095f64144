"""Figure of a kernel's spectrum while training, one column of panels per group of runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from analysis.style import PALETTE, in_style, new_figure, of_seed, seed_color, seed_legend

SHOWN = 5
"""Leading eigenvalues drawn."""
MEASURES = {
    "eigenvalues": (f"{SHOWN} largest eigenvalues", "log"),
    "effective_rank": ("effective rank", "linear"),
    "alignment": ("alignment with labels", "linear"),
    "velocity": ("velocity (1 - cos) / step", "log"),
}
"""What is drawn, with its label and the scale of its axis."""
Run = tuple[list[int], dict[str, np.ndarray]]


@in_style
def evolution_figure(groups: Mapping[str, Sequence[Run]], seeds: Mapping[str, Sequence[str]] | None = None) -> Figure:
    """Draw leading eigenvalues, effective rank, alignment and velocity against the step, one column per group.

    Parameters
    ----------
    groups : mapping
        From a group to steps and measures of each of its runs, see `spectral_evolution`.
    seeds : mapping, optional
        Names of the runs of each group.
    """
    aligned = any(np.isfinite(found["alignment"]).any() for runs in groups.values() for _, found in runs)
    shown = [name for name in MEASURES if aligned or name != "alignment"]
    figure, axes = new_figure(len(shown), len(groups))
    for column, (name, runs) in enumerate(groups.items()):
        names = list((seeds or {}).get(name, [str(i) for i in range(len(runs))]))
        for row, measure in enumerate(shown):
            axis, (label, scale) = axes[row, column], MEASURES[measure]
            for run, (steps, found) in enumerate(runs):
                values = found[measure].reshape(len(steps), -1)[:, :SHOWN]
                for k in range(values.shape[1]):
                    color = PALETTE[k % len(PALETTE)] if measure == "eigenvalues" else seed_color(run)
                    positive = values[:, k] > 0
                    (line,) = axis.plot(
                        np.array(steps)[positive], values[positive, k], color=color, alpha=0.8, linewidth=1.2
                    )
                    of_seed(line, names[run])
            axis.set_xscale("symlog", linthresh=1)
            axis.set_yscale(scale)
            axis.set(title=name, ylabel=label, xlabel="training step")
            if measure != "eigenvalues":
                seed_legend(axis, names)
    return figure
