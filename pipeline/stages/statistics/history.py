"""Trimming levels after every epoch, from the outputs that snapshots recorded."""

from __future__ import annotations

from typing import Any

import numpy as np

from analysis.classifier_metrics import accuracy, churn_matrix, decisions, mean_churn
from analysis.trimming.references import consensus_levels
from analysis.trimming.thresholds import dkw_threshold
from analysis.variability.figures import group_levels
from pipeline.config.statistics import StatisticsConfig
from pipeline.engine.artifacts import Artifact
from pipeline.engine.build import Gathered
from pipeline.errors import UserError
from pipeline.reporting.blocks import Picture, Table, summary_cells
from pipeline.stages.statistics.read import seed_runs
from pipeline.stages.train.read import recorded_steps

Rows = list[dict[str, Any]]
SHOWN = 10
"""Epochs in a figure or table, evenly spaced."""


def level_history(name: str, members: list[Gathered], chosen: StatisticsConfig) -> Rows:
    """Levels, churn and accuracy of a group's runs at every snapshot.

    The reference is the mixture of the other runs at the same epoch, the tolerance that of the DKW inequality.

    Parameters
    ----------
    name : str
        Label of the group.
    members : list of Gathered
        Snapshots of each run, with logits recorded at the same steps.
    chosen : StatisticsConfig

    Returns
    -------
    list of dict
        One row for each snapshot and run; empty for a single run.

    Raises
    ------
    UserError
        If the runs were recorded at different steps, or cannot be compared.
    """
    if len(members) < 2:
        return []
    moments = recorded_steps(members[0].artifact)
    for member in members[1:]:
        steps = [row["step"] for row in recorded_steps(member.artifact)]
        if steps != [moment["step"] for moment in moments]:
            raise UserError(
                f"Runs {members[0].artifact.key} and {member.artifact.key} of {name} were recorded at different steps: "
                "levels after each epoch need equal schedules."
            )
    rows = []
    for moment in moments:
        runs = seed_runs(name, members, chosen.split, chosen.on_bad_run, step=moment["step"])
        if len(runs.seeds) < 2:
            continue
        gaps, decided = runs.gaps(chosen.quantity), decisions(runs.outputs())
        delta = dkw_threshold(gaps.shape[1], gaps.shape[1], eps=chosen.eps)
        levels = consensus_levels(gaps, deltas=[delta], kinds=["mixture"]).level("mixture", delta)
        right, churn = accuracy(decided, runs.labels), mean_churn(churn_matrix(decided))
        for run, seed in enumerate(runs.seeds):
            found = {"level": levels[run], "churn_mean": churn[run], "accuracy": right[run], "delta": delta}
            rows.append(
                {"group": name, "epoch": float(moment["epoch"]), "step": int(moment["step"]), "seed": seed}
                | {key: float(value) for key, value in found.items()}
            )
    return rows


def history_blocks(artifact: Artifact, command: str) -> list[Table | Picture]:
    """Table of mean levels after each epoch, and a figure for each group."""
    rows = artifact.table("epochs.parquet").to_pylist()
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
            cells.append([name, f"{epoch:g}", *summary_cells(found), float(churn[f"{epoch:g}"].mean()), right])
        figure = group_levels(levels, churn, delta=mine[0]["delta"])
        for axis in figure.axes:
            axis.set_xlabel("epoch")
        caption = f"{name}: level of every run against the mixture of the others at the same epoch, and its mean churn."
        pictures.append(Picture(figure, caption, f"Levels after each epoch of {name}"))
    table = Table(
        ["group", "epoch", "runs", "mean level", "sd", "95 % interval", "mean churn", "accuracy"],
        cells,
        "Trimming levels while training goes on, against the mixture of the other runs at the same epoch and the DKW "
        "delta. The Student-t interval takes runs as independent, which the shared reference makes approximate.",
        keys=[artifact.key],
        command=command,
    )
    return [table, *pictures]
