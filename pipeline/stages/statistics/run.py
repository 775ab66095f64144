"""Stage ``statistics``: how far the runs of every group of cells differ, and what that decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from analysis.variability.contrasts import all_contrasts
from pipeline.config.run import RunConfig
from pipeline.engine.build import Build
from pipeline.reporting.groups import grouped_by_label
from pipeline.stages.statistics.claims import GroupLevels, decide_claims
from pipeline.stages.statistics.group import GroupResult, measure_group
from pipeline.stages.statistics.history import level_history
from pipeline.stages.statistics.read import (
    CLAIMS,
    CONTRASTS,
    CORRELATIONS,
    EPOCHS,
    FIGURES,
    GROUPS,
    RELEASED,
    RUNS,
    SEED_COUNT,
    ContrastRow,
    EpochLevelRow,
    RunRow,
)
from pipeline.stages.statistics.seed_runs import seed_runs


def statistics(build: Build) -> dict[str, Any]:
    """Compute levels, companions, intervals, seed counts and outcomes of claims of every group of runs.

    Raises
    ------
    UserError
        If runs cannot be compared, or the test split is too small for any tolerance.
    """
    config = build.config
    chosen = config.statistics
    groups = grouped_by_label(build.members["train"])
    results: list[GroupResult] = []
    levels: dict[str, GroupLevels] = {}
    notes: list[str] = []
    for index, (name, members) in enumerate(groups.items()):
        build.say(f"{name}: {len(members)} runs")
        runs = seed_runs(name, members, chosen.split, chosen.on_bad_run)
        if runs.dropped:
            notes.append(f"{name}: seeds {', '.join(runs.dropped)} were left out, their outputs are not finite.")
        found = measure_group(config, index, runs, np.random.default_rng([chosen.seed, index]), build.say)
        results.append(found)
        notes += found.notes
        if found.levels is not None:
            levels[name] = found.levels
    history: list[EpochLevelRow] = []
    if chosen.history:
        recorded = grouped_by_label(build.members["snapshots"])
        history = [row for name in recorded for row in level_history(name, recorded[name], chosen)]
    claims = decide_claims(config, levels)
    counts = [row for found in results for row in found.seed_counts]
    tables: dict[str, Sequence[Mapping[str, Any]]] = {
        RUNS: _alike([row for found in results for row in found.runs]),
        GROUPS: [row for found in results for row in found.groups],
        CORRELATIONS: [row for found in results for row in found.correlations],
        SEED_COUNT: counts,
        RELEASED: [row for found in results for row in found.released],
        EPOCHS: history,
        CONTRASTS: _contrast_rows(config, levels),
        CLAIMS: claims,
    }
    for file, rows in tables.items():
        if rows:
            build.write_rows(file, rows)
    build.write_arrays(FIGURES, {name: array for found in results for name, array in found.arrays.items()})
    return {
        "groups": {name: len(members) for name, members in groups.items()},
        "notes": list(dict.fromkeys(notes)),
        "outcomes": {f"{row['claim']} {row['group']}": row["outcome"] for row in claims if row["deciding"]},
        "recommended_runs": {row["group"]: row["recommended"] for row in counts if row["kind"] == "recommendation"},
    }


def _alike(runs: Sequence[RunRow]) -> list[dict[str, Any]]:
    """Keep the columns that the first run has: not every group has an error agreement."""
    return [{name: value for name, value in row.items() if name in runs[0]} for row in runs]


def _contrast_rows(config: RunConfig, groups: dict[str, GroupLevels]) -> list[ContrastRow]:
    """Differences in variability of every two groups: by pairwise churn, and by the mixture level at the DKW delta."""
    spreads = {name: group.spread("mixture", group.deltas[0]) for name, group in groups.items()}
    return [
        {
            "first": first,
            "second": second,
            "measure": measure,
            "difference": float(interval.estimate),
            "low": float(interval.low),
            "high": float(interval.high),
        }
        for (first, second), intervals in all_contrasts(spreads).items()
        for measure, interval in intervals.items()
    ]
