"""Report section of seed variability: levels, companions, how many seeds, which seed, and verdicts."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from analysis.trimming.level import TrimmingPlan
from analysis.variability.figures import (
    distance_curves,
    distribution_fan,
    group_levels,
    level_against,
    level_histograms,
    pairwise_heat_map,
    ranking_figure,
)
from analysis.variability.seed_ranking import SeedRanking
from pipeline.config.run import RunConfig
from pipeline.engine.artifacts import Artifact
from pipeline.engine.build import Gathered
from pipeline.reporting.blocks import Picture, Section, Table, Text, Verdict
from pipeline.stages.statistics.history import history_blocks
from pipeline.stages.statistics.report_seed_count import column, seed_counts
from pipeline.stages.statistics.run import ALPHAS

CLAIMS = {
    "A1": "A1: runs of equal accuracy compute different functions, and the trimming level tells them apart",
    "A2": "A2: the method works for other outputs (probability, signed gap, loss)",
    "B1": "B1: the ensemble's distribution nears the expected one, and the curve names the number of runs",
    "B2": "B2: the level says more than accuracy, churn and calibration error alone",
    "B3": "B3: the level helps to choose a seed",
    "B4": "B4: fine-tuned runs vary less than runs from scratch",
}
MEASURES = {
    "level": "mean level",
    "churn": "pairwise churn",
    "scaled_level": "mean level after temperature scaling",
}
KINDS = {"mixture": "mixture", "logit_mean": "mean logits", "quantile_mean": "quantile mean"}
"""References as they are called in tables; the deciding one first."""
Blocks = list[Text | Table | Picture | Verdict]
Rows = list[dict[str, Any]]


def section(members: list[Gathered], config: RunConfig) -> Section:
    """Show the statistics artefact: verdicts first, then tables and figures of every group."""
    artifact, command = members[0].artifact, members[0].command
    groups = list(artifact.metrics["groups"])
    runs = artifact.table("runs.parquet").to_pylist()
    summary = artifact.table("groups.parquet").to_pylist() if artifact.has("groups.parquet") else []
    claims = artifact.table("claims.parquet").to_pylist() if artifact.has("claims.parquet") else []
    blocks: Blocks = [_verdict(row, claims) for row in claims if row["deciding"]]
    findings = [f"{row['claim']} ({row['group']}): {row['verdict']}." for row in claims if row["deciding"]]
    blocks += [Text(note) for note in [*artifact.metrics["notes"], *_cautions(runs, summary, config)]]
    if summary:
        blocks += [_level_table(summary, artifact, command), _companion_table(summary, runs, artifact, command)]
        findings += _level_findings(summary)
    if artifact.has("correlations.parquet"):
        blocks.append(_correlation_table(artifact, command))
    arrays = artifact.arrays("figures.safetensors")
    if len({row["group"] for row in summary}) > 1:
        blocks.append(_group_picture(runs, groups, summary))
        table, lines = _contrasts(artifact, command)
        blocks.append(table)
        findings += lines
    for index, group in enumerate(groups):
        mine = [row for row in runs if row["group"] == group]
        if len(mine) >= 2:
            delta = next(row["delta"] for row in summary if row["group"] == group)
            blocks += _pictures(index, group, mine, delta, arrays)
    if artifact.has("epochs.parquet"):
        blocks += history_blocks(artifact, command)
    if artifact.has("seed_count.parquet"):
        extra, lines = seed_counts(artifact, summary, command)
        blocks += extra
        findings += lines
    if artifact.has("released.parquet"):
        blocks.append(_released_table(artifact, command))
    return Section("Seed variability", blocks, findings)


def _cautions(runs: Rows, summary: Rows, config: RunConfig) -> list[str]:
    """Say what makes a level or a factor hard to read: atoms above delta, arithmetic that varies by itself."""
    found = []
    for group, delta in {row["group"]: row["delta"] for row in reversed(summary)}.items():
        heavy = [row["seed"] for row in runs if row["group"] == group and row["largest_atom"] > delta]
        if heavy:
            found.append(
                f"{group}: in seeds {', '.join(heavy[:10])} ({len(heavy)} in all) one value holds more than delta = "
                f"{delta:.4f} of the examples and decides the level by itself."
            )
    streams = sorted({name for name in ("init", "order", "augment", "dropout") if f"seeds.{name}" in str(config.cells)})
    if streams and not config.numerics.deterministic:
        found.append(
            f"seeds.{', seeds.'.join(streams)} vary alone, but numerics.deterministic=false lets equal seeds "
            "differ too: the factors are confounded with the arithmetic."
        )
    return found


def _verdict(row: dict[str, Any], claims: Rows) -> Verdict:
    others = [
        f"{one['reference']} at {one['delta']:.3g}: {one['verdict']}"
        for one in claims
        if (one["claim"], one["group"]) == (row["claim"], row["group"]) and not one["deciding"]
    ]
    details = ", ".join(
        f"{name} {value:.3g}" for name, value in json.loads(row["details"]).items() if value is not None
    )
    effect = "not computable" if row["effect"] != row["effect"] else f"effect {row['effect']:.4g}"
    interval = "" if row["low"] != row["low"] else f" [{row['low']:.4g}, {row['high']:.4g}]"
    evidence = (
        f"{row['group']}, n = {row['n']}: {effect}{interval}. Test: {row['test']}. Decided on {row['reference']} at "
        f"delta {row['delta']:.4g} ({row['threshold']})."
    )
    evidence += f" {details}." if details else ""
    evidence += f" Elsewhere: {'; '.join(others)}." if others else ""
    return Verdict(CLAIMS[row["claim"]], row["verdict"], evidence, "qualitative", "published")


def _interval(low: float, high: float) -> str:
    return "–" if low != low else f"[{low:.4g}, {high:.4g}]"


def _level_table(summary: Rows, artifact: Artifact, command: str) -> Table:
    rows = [
        [
            row["group"],
            KINDS[row["reference"]],
            f"{row['delta']:.4f}{' DKW' if row['threshold'] == 'DKW' else '*' if row['noise_limited'] else ''}",
            row["level_mean"],
            _interval(row["level_low"], row["level_high"]),
            row["level_sd"],
            row["level_halves"],
            row["share_above_zero"],
            row["unattainable"],
            row["ks_mean"],
        ]
        for row in sorted(summary, key=lambda row: (_place(summary, row), list(KINDS).index(row["reference"])))
    ]
    return Table(
        ["group", "reference", "delta", "mean level", "95 % interval", "sd", "halves", "share > 0", "no level", "KS"],
        rows,
        f"Trimming levels of each run against all others on {summary[0]['examples']:,} examples; two-level basic "
        "bootstrap over runs and examples. Halves: mean level of a random half of the runs (the larger one where their "
        "number is odd) against the consensus of the other half. No level: runs that no trimming brings within delta. "
        "A star marks a delta below the noise of so few examples. A level is biased up, and 0 only means "
        "indistinguishable at this delta.",
        keys=[artifact.key],
        command=command,
    )


def _place(summary: Rows, row: dict[str, Any]) -> int:
    """Where a group was first met: sorting by it keeps the order of the groups."""
    return next(index for index, other in enumerate(summary) if other["group"] == row["group"])


def _companion_table(summary: Rows, runs: Rows, artifact: Artifact, command: str) -> Table:
    rows = []
    for row in {row["group"]: row for row in summary}.values():
        scaled = [run["level_scaled"] for run in runs if run["group"] == row["group"]]
        rows.append(
            [
                row["group"],
                row["runs"],
                row["accuracy_mean"],
                row["accuracy_sd"],
                row["ece_mean"],
                row["churn_pairwise"],
                _interval(row["churn_low"], row["churn_high"]),
                float(np.mean(scaled)),
            ]
        )
    return Table(
        ["group", "runs", "accuracy", "sd", "ECE", "pairwise churn", "95 % interval", "level after temperature"],
        rows,
        "Companions of the level. Churn is the share of differing decisions of two runs, its interval a bootstrap over "
        "runs; the last column is the mean mixture level at the DKW delta after per-run temperature scaling.",
        keys=[artifact.key],
        command=command,
    )


def _level_findings(summary: Rows) -> list[str]:
    return [
        f"{row['group']}: mean trimming level {row['level_mean']:.3f} {_interval(row['level_low'], row['level_high'])} "
        f"(n = {row['runs']}, mixture, delta {row['delta']:.3f}), pairwise churn {row['churn_pairwise']:.3f}."
        for row in summary
        if row["reference"] == "mixture" and row["threshold"] == "DKW"
    ]


def _correlation_table(artifact: Artifact, command: str) -> Table:
    rows = [
        [row["group"], row["companion"], row["runs"], row["spearman"], _interval(row["low"], row["high"])]
        for row in artifact.table("correlations.parquet").to_pylist()
        if row["reference"] == "mixture"
    ]
    return Table(
        ["group", "companion", "runs", "Spearman with level", "95 % interval"],
        rows,
        "Rank correlation of the mixture level at the DKW delta with each companion; percentile bootstrap over runs. "
        "Groups whose levels are all equal have nothing to rank.",
        keys=[artifact.key],
        command=command,
    )


def _group_picture(runs: Rows, groups: list[str], summary: Rows) -> Picture:
    shown = [group for group in groups if any(row["group"] == group for row in summary)]
    levels, churn = (
        {group: column([row for row in runs if row["group"] == group], name) for group in shown}
        for name in ("level_mixture_dkw", "churn_mean")
    )
    return Picture(
        group_levels(levels, churn, delta=summary[0]["delta"]),
        "Left: trimming level of every run against the others of its group. Right: its mean churn against them. Bars "
        "are means.",
        "Trimming levels and churn by group",
    )


def _contrasts(artifact: Artifact, command: str) -> tuple[Table, list[str]]:
    rows = artifact.table("contrasts.parquet").to_pylist()
    shown = [
        [row["first"], row["second"], MEASURES[row["measure"]], row["difference"], _interval(row["low"], row["high"])]
        for row in rows
    ]
    table = Table(
        ["group", "against", "measure", "difference", "95 % interval"],
        shown,
        "Which runs vary more? Differences of group means, first minus second; percentile bootstrap over the runs of "
        "either group, pairs rebuilt from the runs drawn. Pairs of groups are not corrected for their number.",
        keys=[artifact.key],
        command=command,
    )
    findings = [
        f"{row['first']} varies {'more' if row['low'] > 0 else 'less'} than {row['second']}: pairwise churn differs by "
        f"{row['difference']:.3f} {_interval(row['low'], row['high'])}."
        for row in rows
        if row["measure"] == "churn" and (row["low"] > 0 or row["high"] < 0)
    ]
    return table, findings


def _pictures(index: int, group: str, rows: Rows, delta: float, arrays: dict[str, np.ndarray]) -> list[Picture]:
    level = column(rows, "level_mixture_dkw")
    reference = {kind: arrays[f"{index}.reference.{kind}"] for kind in ("mixture", "logit_mean", "quantile_mean")}
    parts = {
        part: arrays[f"{index}.plan.{part}"]
        for part in ("values", "kept", "trimmed_cdf", "candidate_cdf", "reference_cdf")
    }
    run, distance, alpha, _ = arrays[f"{index}.plan.run"].tolist()
    plan = TrimmingPlan(**parts, distance=distance, alpha=alpha)
    fan = arrays[f"{index}.fan"].astype(np.float64)
    curves = arrays[f"{index}.curves"]
    pictures = [
        Picture(
            distribution_fan(fan, reference, delta=delta, plan=plan, run=int(run)),
            f"{group}: distributions of all seeds with the three references and the tolerance band of the first; "
            f"right, what trimming takes from the least typical seed (run {int(run)}).",
            f"Distribution fan of {group}",
        ),
        Picture(
            level_histograms({kind: column(rows, f"level_{kind}_dkw") for kind in reference}, delta=delta),
            f"{group}: levels against the three references.",
            f"Histograms of trimming levels of {group}",
        ),
        Picture(
            distance_curves(ALPHAS.tolist(), curves, delta=delta, levels=level[: curves.shape[1]]),
            f"{group}: robust KS distance to the mixture of the other runs against the trimming share.",
            f"Robust distance curves of {group}",
        ),
        Picture(
            level_against(
                level,
                {
                    "accuracy": column(rows, "accuracy"),
                    "mean churn": column(rows, "churn_mean"),
                    "ECE": column(rows, "ece"),
                },
            ),
            f"{group}: level against accuracy, churn and calibration error, one point per run.",
            f"Level against companions of {group}",
        ),
        Picture(
            ranking_figure(level, _ranking(rows, level)),
            f"{group}: seeds from the most typical on, with basic bootstrap intervals of their levels.",
            f"Seed ranking of {group}",
        ),
    ]
    if f"{index}.pairs" in arrays:
        pictures.append(
            Picture(
                pairwise_heat_map(arrays[f"{index}.pairs"], label="KS distance"),
                f"{group}: two-sample KS distance of every pair of runs, outlying runs last.",
                f"Pairwise distances of {group}",
            )
        )
    return pictures


def _ranking(rows: Rows, level: np.ndarray) -> SeedRanking:
    return SeedRanking(
        order=np.argsort(level, kind="stable"),
        rank_low=column(rows, "rank_low"),
        rank_high=column(rows, "rank_high"),
        level_low=column(rows, "level_low"),
        level_high=column(rows, "level_high"),
        ties_with_best=column(rows, "ties_with_best") > 0,
        share_best=column(rows, "share_best"),
    )


def _released_table(artifact: Artifact, command: str) -> Table:
    rows = [
        [
            row[name]
            for name in ("group", "protocol", "delta", "runs", "level_mean", "level_sd", "at_sentinel", "clipped")
        ]
        for row in artifact.table("released.parquet").to_pylist()
    ]
    return Table(
        ["group", "protocol", "delta", "candidates", "mean level", "sd", "share at the grid's end", "values moved"],
        rows,
        "What each switch of the released code does to the levels: first half of the runs against the second.",
        keys=[artifact.key],
        command=command,
    )
