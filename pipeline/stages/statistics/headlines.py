"""What seed variability answers: how far runs differ, what drives that, and how many runs are enough."""

from __future__ import annotations

import math

from analysis.pages.blocks import Headline, Picture, Table
from analysis.seed_dots import seed_dots
from pipeline.config.run import RunConfig
from pipeline.engine.artifacts import Artifact
from pipeline.reporting.headlines import dots
from pipeline.reporting.spoken import listed, with_unit
from pipeline.stages.statistics.read import GroupRow, read_contrasts, read_groups, read_runs, read_seed_counts
from pipeline.stages.statistics.report_seed_count import seed_counts, stopping_words

NOUNS = {"image": "test images", "text": "test texts"}
"""What the rows are called, by the kind of data."""


def variability_headlines(artifact: Artifact, command: str, config: RunConfig) -> list[Headline]:
    """Answer by churn, by its differences between groups, and by the stopping rule; none where groups have one run."""
    # the level that decides stands on the first screen, as in the section below
    summary = {
        row["group"]: row
        for row in read_groups(artifact)
        if row["reference"] == "mixture" and row["threshold"] == "DKW"
    }
    if not summary:
        return []
    churn = _churn(artifact, command, config, summary)
    found = [churn]
    if contrasts := [row for row in read_contrasts(artifact) if row["measure"] == "churn"]:
        largest = max(contrasts, key=lambda row: abs(row["difference"]))
        difference = with_unit(100 * largest["difference"], 100 * largest["low"], 100 * largest["high"], "points")
        decided = largest["low"] > 0 or largest["high"] < 0
        answer = (
            f"Trainings of {largest['first']} {'disagree' if decided else 'may disagree'} "
            f"{'more' if largest['difference'] > 0 else 'less'} than those of {largest['second']}: the share of test "
            f"rows on which two of them differ is apart by {difference}, 95 % interval for all pairs of groups."
        )
        if not decided:
            answer += " The interval holds 0, so these runs do not decide it."
        question = "Which trainings disagree more with each other?"
        found.append(Headline("contrast", question, answer, churn.table, churn.picture))
    return [*found, *_seed_count(artifact, command, list(summary.values()))]


def _churn(artifact: Artifact, command: str, config: RunConfig, summary: dict[str, GroupRow]) -> Headline:
    examples = next(iter(summary.values()))["examples"]
    noun = NOUNS.get(config.data.kind, "test rows")
    said = {
        name: with_unit(100 * row["churn_pairwise"], 100 * row["churn_low"], 100 * row["churn_high"], "%")
        for name, row in summary.items()
    }
    sizes = sorted({row["runs"] for row in summary.values()})
    over = " or ".join(f"{size:,}" for size in sizes)
    known = any(math.isfinite(row["churn_low"]) for row in summary.values())
    alone = not any(f"seeds.{stream}" in str(config.cells) for stream in ("init", "order", "augment", "dropout"))
    what = "runs" if config.data.source == "logits" else "trainings"
    first, *rest = said
    shares = listed({first: f"{said[first]} of {examples:,} {noun}", **{name: said[name] for name in rest}})
    over_what = f"95 % interval{'s' * bool(rest)} over " if known else ""
    answer = (
        f"Two {what}{' that differ only in the seed' if alone else ''} disagree on {shares}; "
        f"{over_what}n = {over} runs{'' if known else ', so no interval'}."
    )
    drawn = dict(list(summary.items())[:4])
    rows = [row for row in read_runs(artifact) if row["group"] in drawn and math.isfinite(row["churn_mean"])]
    runs = {name: {row["seed"]: 100 * row["churn_mean"] for row in rows if row["group"] == name} for name in drawn}
    means = {
        name: (100 * row["churn_pairwise"], 100 * row["churn_low"], 100 * row["churn_high"])
        for name, row in drawn.items()
    }
    about = f"Share of {examples:,} {noun} on which a run and another one of its group disagree, mean over the others."
    figure = seed_dots(
        runs, means, label=f"disagreement, % of {noun}", title="How often runs disagree", within=(0, 100)
    )
    table = Table(
        ["group", "two runs disagree on", "accuracy %", "trimming level", "runs"],
        [
            [
                name,
                said[name],
                100 * row["accuracy_mean"],
                with_unit(row["level_mean"], row["level_low"], row["level_high"]),
                row["runs"],
            ]
            for name, row in summary.items()
        ],
        f"On {examples:,} {noun}{'; in brackets 95 % intervals over runs' if known else ''}. "
        "Trimming level: the share of a run's outputs that must be left out before the rest is distributed like "
        "those of the other runs; 0 means only that so few rows show no difference.",
        keys=[artifact.key],
        command=command,
    )
    alt = "Disagreement between runs: " + ", ".join(f"{name} {said[name]}" for name in drawn)
    question = f"How often do two {what} that differ only in the seed decide differently?"
    return Headline("churn", question, answer, table.first(), Picture(figure, f"{about} {dots(means.values())}", alt))


def _seed_count(artifact: Artifact, command: str, summary: list[GroupRow]) -> list[Headline]:
    found = read_seed_counts(artifact)
    stops = {row["group"]: row for row in found if row["kind"] == "recommendation"}
    if not stops:
        return []
    picture = next(block for block in seed_counts(artifact, summary, command)[0] if isinstance(block, Picture))
    runs = {row["group"]: row["runs"] for row in summary}
    rungs = {name: [row for row in found if (row["group"], row["kind"]) == (name, "half_to_half")] for name in stops}
    rows = [
        [
            name,
            f"{row['recommended']}" if row["recommended"] > 0 else "more than these",
            runs[name],
            stopping_words(row, rungs[name]),
        ]
        for name, row in stops.items()
    ]
    table = Table(
        ["group", "runs needed", "of", "stopping rule"],
        rows,
        "Runs from which on the distributions of two halves of them agree within a quarter of the tolerance.",
        keys=[artifact.key],
        command=command,
    )
    said = {
        name: f"{row['recommended']} of {runs[name]} runs" if row["recommended"] > 0 else f"more than {runs[name]} runs"
        for name, row in stops.items()
    }
    answer = f"A consensus takes {listed(said)}: with so many, halves of the runs agree within the tolerance."
    question = "How many runs make a consensus?"
    return [Headline("seed_count", question, answer, table.first(), picture)]
