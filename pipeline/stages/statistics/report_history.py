"""Report blocks on the levels after every epoch."""

from __future__ import annotations

import numpy as np

from analysis.pages.blocks import Picture, Table
from analysis.pages.cells import summary_cells
from analysis.variability.figures import group_levels
from pipeline.engine.artifacts import Artifact
from pipeline.stages.statistics.read import read_epochs

SHOWN = 10
"""Epochs in a figure or table, evenly spaced."""


def history_blocks(artifact: Artifact, command: str) -> list[Table | Picture]:
    """Table of mean levels after each epoch, and a figure for each group."""
    rows = read_epochs(artifact)
    cells, pictures = [], []
    for name in dict.fromkeys(row["group"] for row in rows):
        mine = [row for row in rows if row["group"] == name]
        epochs = sorted({row["epoch"] for row in mine})
        places = np.unique(np.linspace(0, len(epochs) - 1, min(SHOWN, len(epochs))).round().astype(int))
        levels, churn = {}, {}
        for epoch in (epochs[place] for place in places):
            here = [row for row in mine if row["epoch"] == epoch]
            found = [row["level"] for row in here]
            levels[f"{epoch:g}"] = np.array(found)
            churn[f"{epoch:g}"] = np.array([row["churn_mean"] for row in here])
            right = float(np.mean([row["accuracy"] for row in here]))
            level = summary_cells(found, within=(0, 1))
            cells.append([name, f"{epoch:g}", *level, float(churn[f"{epoch:g}"].mean()), right])
        figure = group_levels(levels, churn, delta=mine[0]["delta"])
        for axis in figure.axes:
            axis.set_xlabel("epoch")
        caption = f"{name}: level of every run against the mixture of the others at the same epoch, and its mean churn."
        pictures.append(Picture(figure, caption, f"Trimming level and churn of every run of {name} after each epoch"))
    table = Table(
        ["group", "epoch", "runs", "mean level", "sd", "95 % interval", "mean churn", "accuracy"],
        cells,
        "Trimming levels during training, against the mixture of the other runs at the same epoch and the DKW "
        "delta. The interval over runs takes them as independent, which the shared reference makes approximate.",
        keys=[artifact.key],
        command=command,
    )
    return [table, *pictures]
