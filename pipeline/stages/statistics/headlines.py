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
from pipeline.stages.statistics.report_seed_count import seed_counts

NOUNS = {"image": "test images", "text": "test texts"}
"""What the rows are called, by the kind of data."""


def variability_headlines(artifact: Artifact, command: str, config: RunConfig) -> list[Headline]:
    """Answer by churn, by its differences between groups, and by the stopping rule; none where groups have one run."""
    summary = {row["group"]: row for row in reversed(read_groups(artifact))}
    summary = {name: row for name, row in reversed(summary.items())}
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
    answer = (
        f"Two {what}{' that differ only in the seed' if alone else ''} disagree on {listed(said)} of {examples:,} "
        f"{noun}; {'95 % interval over ' if known else ''}n = {over} runs{'' if known else ', so no interval'}."
    )
    drawn = dict(list(summary.items())[:4])
    rows = [row for row in read_runs(artifact) if row["group"] in drawn and math.isfinite(row["churn_mean"])]
    runs = {name: {row["seed"]: 100 * row["churn_mean"] for row in rows if row["group"] == name} for name in drawn}
    means = {
        name: (100 * row["churn_pairwise"], 100 * row["churn_low"], 100 * row["churn_high"])
        for name, row in drawn.items()
    }
    about = f"Share of {examples:,} {noun} on which a run decides otherwise than the others of its group, on average."
    figure = seed_dots(runs, means, label=f"{noun} decided otherwise, %", title="How far runs differ", within=(0, 100))
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
        f"On {examples:,} {noun}{', 95 % intervals over runs' if known else ''}."
        " The level is the share of a run's outputs that must go to "
        "make the rest typical of the other runs; 0 only means that this many rows show no difference.",
        keys=[artifact.key],
        command=command,
    )
    alt = "Disagreement between runs: " + ", ".join(f"{name} {said[name]}" for name in drawn)
    question = "How far do trainings that differ only in the seed disagree?"
    return Headline("churn", question, answer, table.first(), Picture(figure, f"{about} {dots(means.values())}", alt))


def _seed_count(artifact: Artifact, command: str, summary: list[GroupRow]) -> list[Headline]:
    stops = [row for row in read_seed_counts(artifact) if row["kind"] == "recommendation"]
    if not stops:
        return []
    picture = next(block for block in seed_counts(artifact, summary, command)[0] if isinstance(block, Picture))
    rows = [
        [
            row["group"],
            f"{row['recommended']}" if row["recommended"] > 0 else "more than these",
            row["runs"],
            row["text"],
        ]
        for row in stops
    ]
    table = Table(
        ["group", "runs needed", "of", "stopping rule"],
        rows,
        "Runs from which on two disjoint halves of them agree within a quarter of the tolerance.",
        keys=[artifact.key],
        command=command,
    )
    said = {
        row["group"]: f"{row['recommended']} of {row['runs']} runs"
        if row["recommended"] > 0
        else f"more than {row['runs']} runs"
        for row in stops
    }
    answer = f"A consensus takes {listed(said)}: from there on, halves of the runs agree within the tolerance."
    question = "How many runs make a consensus?"
    return [Headline("seed_count", question, answer, table.first(), picture)]
