"""A page of runs of one's own, with what reports have: figures by seed, tables that can be sorted, and a command."""

from pathlib import Path

from analysis.pages import Command, Finding, Picture, Section, Table, write_page
from analysis.style import in_style, new_figure, of_seed, seed_color, seed_legend


@in_style
def _losses():
    figure, axes = new_figure(1, 2)
    for panel, scale in zip(axes[0], (1.0, 0.5), strict=True):
        for place, seed in enumerate(("0", "1", "2")):
            of_seed(panel.plot([1, 2, 3], [scale, scale / 2, scale / 4 + place / 10], color=seed_color(place)), seed)
        panel.set(xlabel="epoch", ylabel="loss")
        seed_legend(panel, ["0", "1", "2"])
    return figure


def write_report(path: Path) -> Path:
    """Write it."""
    rows = [["seed 10", 0.91, "[0.90, 0.92]"], ["seed 2", 1200.0, "[0.80, 0.85]"], ["seed 1", None, "–"]]
    blocks = [
        Finding("Two seeds disagree on 5 % [4, 6] of decisions (n = 3)."),
        Table(["run", "accuracy", "interval"], rows, "Accuracy of three runs."),
        Picture(_losses(), "Losses of three seeds.", "Losses fall"),
        Command("python run.py experiment=quickstart 'cells.seed=0:3'", "Makes this page."),
    ]
    return write_page(path, "Three runs", [Section("Runs", blocks)], question="Do they agree?")
