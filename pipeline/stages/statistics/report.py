"""Report section of seed variability: levels, companions, how many seeds, which seed, and verdicts."""

from __future__ import annotations

import json
import math

from analysis.pages.blocks import Block, Finding, Section, Table, Text
from analysis.verdicts import FAILS, HOLDS, MIN_RUNS, OPEN, Claim, Decided, Standing
from analysis.verdicts.rules import Outcome
from pipeline.config.run import RunConfig
from pipeline.engine.artifacts import Artifact
from pipeline.engine.build import Gathered
from pipeline.reporting.groups import group_names
from pipeline.stages.statistics.figures import group_comparison, group_pictures
from pipeline.stages.statistics.headlines import variability_headlines
from pipeline.stages.statistics.read import (
    ClaimRow,
    ContrastRow,
    GroupRow,
    ReleasedRow,
    read_claims,
    read_contrasts,
    read_correlations,
    read_epochs,
    read_figures,
    read_groups,
    read_released,
    read_runs,
    read_seed_counts,
)
from pipeline.stages.statistics.report_cautions import cautions, notes
from pipeline.stages.statistics.report_companions import (
    companion_table,
    correlation_table,
    shown_estimate,
    shown_percent,
)
from pipeline.stages.statistics.report_history import history_blocks
from pipeline.stages.statistics.report_seed_count import seed_counts

CLAIMS = {
    "A1": "runs of equal accuracy compute different functions, and the trimming level distinguishes them",
    "A2": "the method works for other outputs (probability, signed gap, loss)",
    "B1": "the ensemble's distribution nears the expected one, and the curve names the number of runs",
    "B2": "the level says more than accuracy, churn and calibration error alone",
    "B3": "the level helps to choose a seed",
    "B3-rival": "the run nearest the ensemble is a better choice of seed than the run of lowest level",
    "B4": "fine-tuned runs vary less than runs from scratch",
}
MEASURES = {
    "level": "mean level",
    "churn": "pairwise churn, points",
    "scaled_level": "mean level after temperature scaling",
}
KINDS = {"mixture": "mixture", "logit_mean": "mean logits", "quantile_mean": "quantile mean"}
"""References as they are called in tables; the deciding one first."""
FIELDS = (
    "data",
    "model",
    "training",
    "pretrain",
    "weights",
    "statistics.quantity",
    "statistics.split",
    "statistics.eps",
    "seeds",
)
"""What the published setting fixes for every claim of these papers."""


def section(members: list[Gathered], config: RunConfig) -> Section:
    """Show the statistics artifact: verdicts first, then tables and figures of every group."""
    artifact, command = members[0].artifact, members[0].command
    groups = list(group_names(artifact.metrics["groups"]).values())
    runs = read_runs(artifact)
    summary = read_groups(artifact)
    claims = read_claims(artifact)
    blocks: list[Block] = [_claim(row, claims) for row in claims if row["deciding"]]
    findings: list[str] = []
    blocks += [Text(note, [artifact.key]) for note in [*notes(artifact), *cautions(runs, summary, config)]]
    if summary:
        blocks += [*_level_tables(summary, artifact, command), companion_table(summary, runs, artifact, command)]
        findings += _level_findings(summary)
    # an interval of three runs is the whole range and says nothing
    correlations = [row for row in read_correlations(artifact) if row["reference"] == "mixture" and row["runs"] > 3]
    if correlations:
        blocks.append(correlation_table(correlations, artifact, command))
    arrays = read_figures(artifact)
    # Levels that are 0 in both groups differ by nothing.
    contrasts = [row for row in read_contrasts(artifact) if row["difference"] != 0 or row["high"] > row["low"]]
    if len({row["group"] for row in summary}) > 1 and contrasts:
        blocks.append(group_comparison(runs, groups, summary))
        table, lines = _contrasts(contrasts, artifact, {row["group"]: row["runs"] for row in summary}, command)
        blocks.append(table)
        findings += lines
    for index, group in enumerate(groups):
        mine = [row for row in runs if row["group"] == group]
        if len(mine) >= 2:
            delta = next(row["delta"] for row in summary if row["group"] == group)
            blocks += group_pictures(index, group, mine, delta, arrays)
    if read_epochs(artifact):
        blocks += history_blocks(artifact, command)
    if read_seed_counts(artifact):
        extra, lines = seed_counts(artifact, summary, command)
        blocks += extra
        findings += lines
    if released := read_released(artifact):
        blocks.append(_released_table(released, artifact, command))
    headlines = variability_headlines(artifact, command, config)
    return Section("Seed variability", [*map(Finding, findings), *blocks], headlines)


def _claim(row: ClaimRow, claims: list[ClaimRow]) -> Claim:
    others = [
        f"{KINDS[one['reference']]} at δ = {one['delta']:.3g}: {one['outcome']}"
        for one in claims
        if (one["claim"], one["group"]) == (row["claim"], row["group"]) and not one["deciding"]
    ]
    details = ", ".join(
        f"{name.replace('_', ' ')} {value:.3g}"
        for name, value in json.loads(row["details"]).items()
        if value is not None
    )
    evidence = f"{row['evidence']} Decided on the {KINDS[row['reference']]} at δ = {row['delta']:.4f} (DKW)."
    evidence += f" {details[:1].upper()}{details[1:]}." if details else ""
    evidence += f" Elsewhere, not adjusted: {'; '.join(others)}." if others else ""
    p, against = (None if math.isnan(value) else value for value in (row["p"], row["p_against"]))
    return Claim(
        row["claim"],
        f"{row['group']}: {CLAIMS[row['claim']]}",
        Decided(_outcome(row["outcome"]), evidence, p, against),
        fields=FIELDS,
        published="qualitative",
        standing=Standing("published", band="ours"),
    )


def _outcome(word: str) -> Outcome:
    """Read an outcome back from a table."""
    return HOLDS if word == HOLDS else FAILS if word == FAILS else OPEN


def _level_tables(summary: list[GroupRow], artifact: Artifact, command: str) -> list[Table]:
    """Tabulate the deciding level of each group, and beside each other those by reference and tolerance."""
    by_group: dict[str, list[GroupRow]] = {}
    for row in summary:
        by_group.setdefault(row["group"], []).append(row)
    deciding = [next(row for row in rows if _decides(row)) for rows in by_group.values()]
    rows = [
        [
            row["group"],
            row["runs"],
            f"{row['delta']:.4f}",
            shown_estimate(row["level_mean"], row["level_low"], row["level_high"]),
            row["level_sd"],
            row["level_halves"],
            row["share_above_zero"],
            row["unattainable"] or None,
            row["ks_mean"],
        ]
        for row in deciding
    ]
    known = any(math.isfinite(row["level_low"]) for row in deciding)
    first = Table(
        ["group", "runs", "δ", f"mean level{' [95 %]' if known else ''}", "sd", "halves", "share above 0"]
        + ["no level", "KS"],
        rows,
        f"Trimming level of each run against the outputs of all others together (their mixture) on "
        f"{summary[0]['examples']:,} examples: how much must be left out of a run's outputs until their distribution "
        "is within δ, which is the bound of Dvoretzky, Kiefer and Wolfowitz (DKW) on what chance does. Intervals are "
        "over runs (jackknife, Wilson's form) and test examples (bootstrap). KS: Kolmogorov-Smirnov distance to the "
        f"mixture. {_on_levels(deciding)}A level is biased up, and 0 means only that no difference shows at this δ.",
        keys=[artifact.key],
        command=command,
    )
    headings = {
        _place(row): f"{KINDS[row['reference']]}, δ {row['delta']:.3g}"
        + ("*" if row["noise_limited"] and row["threshold"] != "DKW" else "")
        for row in sorted(summary, key=lambda row: (list(KINDS).index(row["reference"]), row["delta"]))
    }
    if len(headings) == 1 or not any(row["level_mean"] for row in summary):  # all of them are 0, like those above
        return [first]
    found = {(row["group"], *_place(row)): row["level_mean"] for row in summary}
    others = Table(
        ["group", *headings.values()],
        [[name, *(found.get((name, *place)) for place in headings)] for name in by_group],
        "Mean level over runs, for three ways to put the other runs together and for each tolerance δ."
        + " A star marks a δ that chance alone exceeds on so few examples."
        * any("*" in one for one in headings.values()),
        keys=[artifact.key],
        command=command,
    )
    return [first, others]


def _on_levels(deciding: list[GroupRow]) -> str:
    """Explain the columns and signs that a table of levels has."""
    said = ""
    if any(math.isfinite(row["level_halves"]) for row in deciding):
        said += (
            "Halves: mean level of a random half of the runs (the larger one where their number is odd) against the "
        )
        said += "other half. "
    if any(row["unattainable"] for row in deciding):
        said += "No level: runs that no trimming brings within δ. "
    if not all(math.isfinite(row["level_low"]) for row in deciding):
        said += "No interval: two runs, or runs that do not differ. "
    return said


def _decides(row: GroupRow) -> bool:
    return row["reference"] == "mixture" and row["threshold"] == "DKW"


def _place(row: GroupRow) -> tuple[str, float | None]:
    """Give reference and tolerance of a level; that of the bound is one, however many examples there are."""
    return row["reference"], None if row["threshold"] == "DKW" else row["delta"]


def _level_findings(summary: list[GroupRow]) -> list[str]:
    return [
        f"{row['group']}: mean trimming level "
        f"{shown_estimate(row['level_mean'], row['level_low'], row['level_high'])} "
        f"(n = {row['runs']}, δ = {row['delta']:.3f}), pairwise churn {100 * row['churn_pairwise']:.3g} %."
        for row in summary
        if _decides(row)
    ]


def _contrasts(
    rows: list[ContrastRow], artifact: Artifact, sizes: dict[str, int], command: str
) -> tuple[Table, list[str]]:
    shown = []
    for row in rows:
        as_points = shown_percent if row["measure"] == "churn" else shown_estimate
        difference = as_points(row["difference"], row["low"], row["high"])
        shown.append([row["first"], row["second"], MEASURES[row["measure"]], difference])
    table = Table(
        ["group", "against", "measure", "difference [95 % for all]"],
        shown,
        "Which runs vary more? Differences of group means, first minus second. Intervals over runs leave out one run "
        "of either group at a time (jackknife, combined as in Welch's test) and hold for all pairs of groups together "
        "(Bonferroni); the test examples are the same for all.",
        keys=[artifact.key],
        command=command,
    )
    findings = [
        f"{row['first']} varies {'more' if row['low'] > 0 else 'less'} than {row['second']}: pairwise churn differs by "
        f"{shown_percent(row['difference'], row['low'], row['high'])} points."
        for row in rows
        if row["measure"] == "churn"
        and (row["low"] > 0 or row["high"] < 0)
        and min(sizes[row["first"]], sizes[row["second"]]) >= MIN_RUNS
    ]
    return table, findings


def _released_table(found: list[ReleasedRow], artifact: Artifact, command: str) -> Table:
    rows = [
        [
            row["group"],
            row["protocol"],
            row["delta"],
            row["runs"],
            row["level_mean"],
            row["level_sd"],
            row["at_sentinel"],
            row["clipped"],
        ]
        for row in found
    ]
    return Table(
        ["group", "protocol", "δ", "candidates", "mean level", "sd", "share at the grid's end", "values moved"],
        rows,
        "What each switch of the released code does to the levels: first half of the runs against the second.",
        keys=[artifact.key],
        command=command,
    )
