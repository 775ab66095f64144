"""Trimming levels after every epoch, from the outputs that snapshots recorded."""

from __future__ import annotations

from analysis.classifier_metrics import accuracy, churn_matrix, decisions, mean_churn
from analysis.trimming.references import consensus_levels
from analysis.trimming.thresholds import dkw_threshold
from pipeline.config.statistics import StatisticsConfig
from pipeline.engine.build import Gathered
from pipeline.errors import UserError
from pipeline.stages.statistics.read import EpochLevelRow
from pipeline.stages.statistics.seed_runs import seed_runs
from pipeline.stages.train.read import read_recorded_steps


def level_history(name: str, members: list[Gathered], chosen: StatisticsConfig) -> list[EpochLevelRow]:
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
    list of EpochLevelRow
        One for each snapshot and run; empty for a single run.

    Raises
    ------
    UserError
        If the runs were recorded at different steps, or cannot be compared.
    """
    if len(members) < 2:
        return []
    moments = read_recorded_steps(members[0].artifact)
    for member in members[1:]:
        steps = [row["step"] for row in read_recorded_steps(member.artifact)]
        if steps != [moment["step"] for moment in moments]:
            raise UserError(
                f"Runs {members[0].artifact.key} and {member.artifact.key} of {name} were recorded at different steps: "
                "levels after each epoch need equal schedules."
            )
    rows: list[EpochLevelRow] = []
    for moment in moments:
        runs = seed_runs(name, members, chosen.split, chosen.on_bad_run, step=moment["step"])
        if len(runs.seeds) < 2:
            continue
        gaps, decided = runs.gaps(chosen.quantity), decisions(runs.outputs())
        delta = dkw_threshold(gaps.shape[1], gaps.shape[1], eps=chosen.eps)
        levels = consensus_levels(gaps, deltas=[delta], kinds=["mixture"]).level("mixture", delta)
        right, churn = accuracy(decided, runs.labels), mean_churn(churn_matrix(decided))
        for run, seed in enumerate(runs.seeds):
            rows.append(
                {
                    "group": name,
                    "epoch": float(moment["epoch"]),
                    "step": int(moment["step"]),
                    "seed": seed,
                    "level": float(levels[run]),
                    "churn_mean": float(churn[run]),
                    "accuracy": float(right[run]),
                    "delta": float(delta),
                }
            )
    return rows
