"""Report blocks of rows that were left out under one seed and one order of batches."""

from __future__ import annotations

from typing import Any

from analysis.attribution.figures import interval_bars
from analysis.pages.blocks import Block, Headline, Picture, Table
from analysis.pages.cells import OVER_SEEDS, summary_cells
from analysis.verdicts import run_interval_within, student_mean_interval
from pipeline.engine.build import Gathered
from pipeline.reporting.groups import keys_of
from pipeline.reporting.headlines import over_seeds
from pipeline.stages.retraining.read import (
    STEP_PARTS,
    STEP_SHARE,
    OmittedRow,
    read_omitted,
    read_smoothness,
    read_top_omitted,
)

_CONTROLS = ("ceiling", "random", "same_label")


def omitted_blocks(name: str, group: list[Gathered]) -> list[Block]:
    """Tabulate scores by method and share for each target, the rise of losses, and the smoothness of the run."""
    blocks: list[Block] = []
    about: dict[str, Any] = {"keys": keys_of(group), "command": group[0].command}
    rows = [row for member in group for row in read_omitted(member.artifact)]
    if rows:
        seeds, parts = group[0].artifact.metrics["seeds"], group[0].artifact.metrics["omissions"]
        for target in dict.fromkeys(row["target"] for row in rows):
            blocks += _scores(name, target, [row for row in rows if row["target"] == target], seeds, parts, about)
    blocks += _rises(name, group, about)
    smooth = [row for member in group for row in read_smoothness(member.artifact)]
    if smooth:
        lines = []
        for step in dict.fromkeys(row["step"] for row in smooth):
            own = [row for row in smooth if row["step"] == step]
            errors = summary_cells([row["error"] for row in own])
            lines.append([step, *errors, student_mean_interval([row["correlation"] for row in own])[0]])
        caption = (
            f"{name}: smoothness of the run. Weights of {100 * STEP_SHARE:g} % of the training points fall by a step "
            "(1 leaves the points out): ‖foretold - real‖ / ‖real‖ of the change of log-odds that magic's derivative "
            f"foretells, over {STEP_PARTS} parts and all test points. {OVER_SEEDS}"
        )
        columns = ["step", "runs", "relative error", "sd", "95 % interval", "correlation"]
        blocks.append(Table(columns, lines, caption, **about))
    return blocks


def _scores(
    name: str, target: str, rows: list[OmittedRow], seeds: int, parts: int, about: dict[str, Any]
) -> list[Block]:
    shares = list(dict.fromkeys(row["share"] for row in rows))
    methods = list(dict.fromkeys(row["method"] for row in rows))
    means: dict[tuple[str, float], tuple[float, float, float]] = {}
    for method in methods:
        for share in shares:
            found = [row for row in rows if row["method"] == method and row["share"] == share]
            if not found:
                continue
            mean, _, low, high = run_interval_within([row["mean"] for row in found], -1.0, 1.0)
            first = found[0]
            means[method, share] = (mean, *((low, high) if low == low else (first["low"], first["high"])))
    order = sorted(methods, key=lambda method: -sum(means[method, share][0] for share in shares))
    lines = [
        [method.replace("_", " "), *("{:.3f} [{:.3f}, {:.3f}]".format(*means[method, share]) for share in shares)]
        for method in order
    ]
    against = "the run's own seed" if target == "one seed" else f"the mean over {seeds} seeds"
    caption = (
        f"{name}: linear datamodeling score against training without random parts, whose weights in the loss are 0 "
        f"while batches stay the same; {parts} parts of each share, {against}. Brackets: 95 % interval over runs, or "
        f"over parts and test points where there is one run."
    )
    columns = ["method", *(f"{100 * share:g} % left out" for share in shares)]
    smallest = shares[0]
    bars = {method.replace("_", " "): means[method, smallest] for method in order}
    label = f"Linear datamodeling score, {100 * smallest:g} % left out, {target}"
    return [
        Table(columns, lines, caption, **about),
        Picture(
            interval_bars(bars, label=label, title=name, reference=0.0),
            f"{label}: mean over runs with its 95 % interval.",
            f"{label} of {name}",
        ),
    ]


def _rises(name: str, group: list[Gathered], about: dict[str, Any]) -> list[Block]:
    found = [row for member in group for row in read_top_omitted(member.artifact)]
    if not found:
        return []
    lines, bars = [], {}
    for method in dict.fromkeys(row["method"] for row in found):
        own = [row for row in found if row["method"] == method]
        values = [row["rise"] for row in own]
        lines.append([method.replace("_", " "), *summary_cells(values)])
        mean, _, low, high = student_mean_interval(values)
        spread = (low, high) if low == low else (own[0]["low"], own[0]["high"])
        bars[method.replace("_", " ")] = (mean, *spread)
    lines.sort(key=lambda line: -bars[line[0]][0])
    caption = (
        f"{name}: rise of a test point's loss when the {found[0]['omitted']} training points that support it most by "
        f"each method are left out, same seed and batches; mean over {found[0]['points']} test points. {OVER_SEEDS}"
    )
    label = "Rise of the loss"
    return [
        Table(["method", "runs", "mean", "sd", "95 % interval"], lines, caption, **about),
        Picture(
            interval_bars(
                dict(sorted(bars.items(), key=lambda bar: -bar[1][0])), label=label, title=name, reference=0.0
            ),
            f"{label}: mean over runs with its 95 % interval (over seeds; over test points where there is one run).",
            f"{label} of {name}",
        ),
    ]


def omitted_headline(groups: dict[str, list[Gathered]]) -> list[Headline]:
    """Answer how well the best method foretells the same training without a few points."""
    every = [row for group in groups.values() for member in group for row in read_omitted(member.artifact)]
    if not every:
        return []
    share = every[0]["share"]

    def score(member: Gathered, method: str) -> float | None:
        found = [
            row["mean"]
            for row in read_omitted(member.artifact)
            if (row["method"], row["share"], row["target"]) == (method, share, "one seed")
        ]
        return found[0] if found else None

    def mean(method: str) -> float:
        values = [v for group in groups.values() for one in group if (v := score(one, method)) is not None]
        return sum(values) / len(values) if values else -1.0

    methods = [m for m in dict.fromkeys(row["method"] for row in every) if m not in _CONTROLS]
    if not methods:
        return []
    order = sorted(methods, key=mean, reverse=True)
    rivals = ", ".join(f"{name.replace('_', ' ')} {mean(name):.3f}" for name in order[1:3])
    return over_seeds(
        "same_training",
        "Which attribution foretells the same training without a few points?",
        f"{order[0].replace('_', ' ')} foretells it best, with a datamodeling score of {{}} where {100 * share:g} % "
        "are left out" + (f"; then {rivals} (means)" if rivals else ""),
        groups,
        lambda member: score(member, order[0]),
        heading="datamodeling score",
        about=f"Linear datamodeling score of {order[0].replace('_', ' ')}, same seed and batches.",
        within=(-1.0, 1.0),
        reference=0.0,
    )
