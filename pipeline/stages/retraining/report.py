"""Report section of the retrainings: linear datamodeling score by method, and margins without chosen points."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from analysis.attribution.figures import interval_bars
from analysis.pages.blocks import Block, Finding, Headline, Picture, Section, Table
from analysis.pages.cells import OVER_SEEDS, interval_cell, summary_cells
from analysis.verdicts import run_interval_within, student_mean_interval
from pipeline.config.run import RunConfig
from pipeline.engine.build import Gathered
from pipeline.reporting.groups import grouped, keys_of
from pipeline.reporting.headlines import over_seeds
from pipeline.stages.retraining.read import read_datamodeling, read_leave_out
from pipeline.stages.retraining.report_omitted import omitted_blocks, omitted_headline


class Line(NamedTuple):
    """One run's value for a method or a dropped set, with its bootstrap interval."""

    name: str
    value: float
    low: float
    high: float
    points: int
    flips: float | None = None


def section(members: list[Gathered], config: RunConfig) -> Section:
    """Tabulate and draw, group by group, how well each attribution method predicts retraining."""
    blocks: list[Block] = []
    findings: list[Finding] = []
    for name, group in grouped(members).items():
        first = group[0].artifact
        shape = f"{first.metrics['seeds']} seed(s) of every retraining, {first.metrics['n_train']} training rows"
        if read_datamodeling(first):
            scores = [
                Line(row["method"], row["mean"], row["low"], row["high"], row["points"])
                for member in group
                for row in read_datamodeling(member.artifact)
            ]
            blocks += _blocks(
                name,
                group,
                scores,
                ["method"],
                f"{name}: linear datamodeling score, Spearman's ρ between the sum of the scores of a random part of "
                f"the training rows and the retrained log-odds of the true class; {first.metrics['subsets']} parts, "
                f"{shape}. The ceiling is what the true effects would reach: √(2r/(1+r)) of the correlation r of two "
                "halves of the retraining seeds, averaged over all splits. The first run's interval resamples parts "
                "and test points.",
                "Linear datamodeling score",
                "parts and test points",
            )
            found = first.metrics["lds"]
            best = max(
                (method for method in found if method not in ("ceiling", "random") and "λ×" not in method),
                key=lambda m: _mean(group, m),
            )
            said = f"{name}: highest datamodeling score {_mean(group, best):.3f} ({best}, n = {len(group)})."
            findings.append(Finding(said, keys_of(group)))
        if read_leave_out(first):
            changes = [
                Line(row["set"], row["change"], row["low"], row["high"], row["points"], row["flips"])
                for member in group
                for row in read_leave_out(member.artifact)
            ]
            blocks += _blocks(
                name,
                group,
                changes,
                ["set", "flipped %"],
                f"{name}: change of a test point's log-odds of its true class after {first.metrics['k']} training "
                f"points are dropped: the strongest or weakest by {first.metrics['method']}, or controls; {shape}. "
                "The first run's interval is Student's over test points; the retraining seeds are fixed.",
                "Change of the log-odds",
                "test points",
            )
        blocks += omitted_blocks(name, group)
    groups = grouped(members)
    headlines = [*_predicted(groups), *omitted_headline(groups), *_dropped(groups)]
    return Section("Retraining", [*findings, *blocks], headlines)


def _predicted(groups: dict[str, list[Gathered]]) -> list[Headline]:
    """Answer how well the best method predicts retraining; what true effects reach and chance are no methods."""
    found = [member.artifact.metrics["lds"] for group in groups.values() for member in group if _scored(member)]
    if not found:
        return []

    def mean(method: str) -> float:
        return float(np.mean([scores[method] for scores in found]))

    order = sorted(
        (name for name in found[0] if name not in ("ceiling", "random", "same_label")), key=mean, reverse=True
    )
    rivals = ", ".join(f"{name.replace('_', ' ')} {mean(name):.3f}" for name in order[1:3])
    return over_seeds(
        "prediction",
        "Which attribution predicts what training without the points does?",
        f"{order[0].replace('_', ' ')} predicts retraining best, with a datamodeling score of {{}} (1 is perfect, 0 is "
        "chance)" + (f"; then {rivals} (means)" if rivals else ""),
        groups,
        lambda member: member.artifact.metrics["lds"][order[0]] if _scored(member) else None,
        heading="datamodeling score",
        about=f"Linear datamodeling score of {order[0].replace('_', ' ')}: 1 predicts every order, 0 none.",
        within=(-1.0, 1.0),
        reference=0.0,
    )


def _scored(member: Gathered) -> bool:
    return bool(read_datamodeling(member.artifact))


def _dropped(groups: dict[str, list[Gathered]]) -> list[Headline]:
    """Answer what happens to a decision whose strongest training points are dropped."""
    rows = [read_leave_out(member.artifact) for group in groups.values() for member in group]
    if not rows or not all(rows):
        return []
    name = rows[0][0]["set"]
    return over_seeds(
        "dropping",
        "What does training without the strongest points do to a decision?",
        f"Training without the set “{name.replace('_', ' ')}” changes a decision's log-odds by {{}}",
        groups,
        lambda member: read_leave_out(member.artifact)[0]["change"],
        heading="change of the log-odds",
        about=f"Set “{name.replace('_', ' ')}”, mean over test points.",
        reference=0.0,
    )


def _mean(group: list[Gathered], method: str) -> float:
    return student_mean_interval([member.artifact.metrics["lds"][method] for member in group])[0]


def _blocks(
    name: str, group: list[Gathered], lines: list[Line], headings: list[str], caption: str, label: str, resampled: str
) -> list[Block]:
    """Table and bars of one quantity over the runs of a group; a second heading asks for the share of flips."""
    runs: dict[str, list[Line]] = {}
    for line in lines:
        runs.setdefault(line.name, []).append(line)
    rows, bars = [], {}
    for entry, found in runs.items():
        values = [float(line.value) for line in found]
        first = found[0]
        own = (first.low, first.high) if first.low <= first.value <= first.high else (math.nan, math.nan)
        within = (-1.0, 1.0) if headings == ["method"] else None
        cells = [entry.replace("_", " "), *summary_cells(values, within), interval_cell(*own)]
        if len(headings) > 1:
            flips = [float(line.flips) for line in found if line.flips is not None]
            cells.append(100 * student_mean_interval(flips)[0] if flips else None)
        rows.append([*cells, first.points])
        mean, _, low, high = student_mean_interval(values) if within is None else run_interval_within(values, *within)
        spread = own if math.isnan(low) else (low, high)
        bars[entry.replace("_", " ")] = (mean, float(spread[0]), float(spread[1]))
    columns = [headings[0], "runs", "mean", "sd", "95 % interval", f"first run, over {resampled}", *headings[1:]]
    return [
        Table(
            [*columns, "test points"],
            rows,
            f"{caption} {OVER_SEEDS}",
            keys=keys_of(group),
            command=group[0].command,
        ),
        Picture(
            interval_bars(bars, label=label, title=name, reference=0.0),
            f"{label}: mean over runs with its 95 % interval (over seeds; over {resampled} where there is one run).",
            f"{label} of {name}",
        ),
    ]
