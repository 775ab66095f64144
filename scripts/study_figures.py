"""The figure of a study: its numbers with their intervals, beside the published ones where there are any."""

from __future__ import annotations

from typing import Any

from analysis.style import CONTEXT, PALETTE, REFERENCE, in_style, new_figure, svg_bytes
from scripts.study_results import bounds


@in_style
def draw_study(study: dict[str, Any]) -> bytes:
    """Draw a forest plot, a panel for each unit.

    Parameters
    ----------
    study : dict
        As ``results/<study>.json`` has it.

    Returns
    -------
    bytes
        An SVG, the same for the same numbers.
    """
    panels = list(study["panels"].values())
    heights = [0.27 * len(panel["rows"]) + 0.75 for panel in panels]
    figure, axes = new_figure(len(panels), 1, width=6.4, height=sum(heights) / len(panels))
    grid = axes[0, 0].get_gridspec()
    grid.set_height_ratios(heights)
    for axis, panel in zip(axes[:, 0], panels, strict=True):
        _draw_panel(axis, panel)
    return svg_bytes(figure)


def _draw_panel(axis: Any, panel: dict[str, Any]) -> None:
    rows = panel["rows"]
    if "zero" in panel:
        axis.axvline(panel["zero"], color=CONTEXT, linewidth=1, zorder=1)
        if "zero_label" in panel:
            axis.annotate(
                panel["zero_label"], (panel["zero"], 1), xycoords=("data", "axes fraction"), va="bottom", ha="center"
            )
    published = False
    for place, row in enumerate(rows):
        low, high = bounds(row)
        axis.plot([low, high], [place, place], color=PALETTE[0], linewidth=2, zorder=2, solid_capstyle="butt")
        axis.plot([row["value"]], [place], "o", color=PALETTE[0], markersize=5, zorder=3)
        if row.get("published") is not None:
            published = True
            axis.plot([row["published"]], [place], "x", color=REFERENCE, markersize=7, markeredgewidth=1.8, zorder=4)
    sizes = {row["n"] for row in rows}
    labels = [row["label"] if len(sizes) == 1 else f"{row['label']} ({row['n']})" for row in rows]
    axis.set_yticks(range(len(rows)), labels)
    axis.set_ylim(len(rows) - 0.4, -0.6)
    axis.grid(False, axis="y")
    note = f"n = {sizes.pop()}" if len(sizes) == 1 else "n in parentheses"
    axis.set_xlabel(f"{panel['label']} ({note}{'; cross: published' if published else ''})")
