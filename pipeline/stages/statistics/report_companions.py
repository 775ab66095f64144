"""Tables of what differs between runs beside the trimming level, and how it goes along with that."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from analysis.pages.blocks import Table
from analysis.verdicts import format_estimate
from pipeline.engine.artifacts import Artifact
from pipeline.stages.statistics.read import CorrelationRow, GroupRow, RunRow

COMPANIONS = {
    "nll": "cross-entropy",
    "brier": "Brier score",
    "ece": "calibration error (ECE)",
    "ece_adaptive": "calibration error, bins of equal size",
    "churn_logit_mean": "churn against the mean logits",
    "churn_majority": "churn against the majority",
    "churn_mean": "mean churn",
    "error_agreement": "agreement of errors",
}


def shown_estimate(estimate: float, low: float, high: float) -> str:
    """Estimate and interval with the digits that its width allows."""
    return format_estimate(estimate, low, high).replace("undefined", "–")


def shown_percent(share: float, low: float, high: float) -> str:
    """Share and interval in percent."""
    return shown_estimate(100 * share, 100 * low, 100 * high)


def companion_table(summary: list[GroupRow], runs: list[RunRow], artifact: Artifact, command: str) -> Table:
    """Tabulate accuracy, churn and calibration of each group."""
    rows: list[list[Any]] = []
    for row in {row["group"]: row for row in summary}.values():
        scaled = [run["level_scaled"] for run in runs if run["group"] == row["group"]]
        rows.append(
            [
                row["group"],
                row["runs"],
                100 * row["accuracy_mean"],
                100 * row["accuracy_sd"],
                row["ece_mean"],
                shown_percent(row["churn_pairwise"], row["churn_low"], row["churn_high"]),
                100 * row["ambiguity"],
                100 * row["discrepancy"],
                float(np.mean(scaled)),
            ]
        )
    return Table(
        [
            "group",
            "runs",
            "accuracy %",
            "sd",
            "ECE",
            "pairwise churn % [95 %]",
            "ambiguity %",
            "discrepancy %",
            "level after temperature",
        ],
        rows,
        "What else differs between runs. Churn is the share of examples on which two runs decide differently; its "
        "interval over runs leaves one out at a time (jackknife). Ambiguity is the share of examples on which not all "
        "runs agree, discrepancy the largest churn of a run against another, averaged over runs; both grow with the "
        "number of runs. ECE is the calibration error."
        + " The last column is the mean trimming level after temperature scaling of each run." * _any_known(rows, -1)
        + " No interval: two runs, or runs that do not differ." * any("no interval" in str(row[5]) for row in rows),
        keys=[artifact.key],
        command=command,
    )


def _any_known(rows: list[list[Any]], place: int) -> bool:
    return any(math.isfinite(row[place]) for row in rows)


def correlation_table(found: list[CorrelationRow], artifact: Artifact, command: str) -> Table:
    """Tabulate how far levels go along with the other measures."""
    rows = [
        [
            row["group"],
            _companion(row["companion"]),
            row["runs"],
            shown_estimate(row["spearman"], row["low"], row["high"]),
        ]
        for row in found
    ]
    return Table(
        ["group", "measure", "runs", "Spearman with level [95 %]"],
        rows,
        "Rank correlation of the trimming level with what else differs between runs; intervals over runs by Fisher's "
        "z. Groups whose levels are all equal have nothing to rank.",
        keys=[artifact.key],
        command=command,
    )


def _companion(name: str) -> str:
    return COMPANIONS.get(name, name.replace("_", " "))
