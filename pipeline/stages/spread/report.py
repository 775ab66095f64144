"""Report section of the attribution of disagreement: churn without the points that raise the variance most."""

from __future__ import annotations

from typing import Any

import numpy as np

from analysis.attribution.figures import interval_bars
from analysis.pages.blocks import Block, Finding, Headline, Picture, Section, Table
from pipeline.config.run import RunConfig
from pipeline.engine.build import Gathered
from pipeline.reporting.groups import grouped
from pipeline.stages.spread.read import SetRow, read_sets


def section(members: list[Gathered], config: RunConfig) -> Section:
    """Compare the sets, and place the top points among random sets of the same size."""
    blocks: list[Block] = []
    findings: list[str] = []
    headlines: list[Headline] = []
    for name, group in grouped(members).items():
        member = group[0]
        made, rows = member.artifact.metrics, read_sets(member.artifact)
        about: dict[str, Any] = {"keys": [member.artifact.key], "command": member.command}
        controls = [row for row in rows if row["set"].startswith("random")]
        lines = [_line(row) for row in rows[:3]]
        lines.append([f"{len(controls)} random sets, mean", *_means(controls)])
        table = Table(
            ["without", "churn %", "variance", "accuracy %"],
            lines,
            f"{name}: {made['judges']} seeds trained without {made['left_out']} of {made['n_train']} training points "
            f"(weight 0, same batches). The top points raise the variance of the true class's probability over "
            f"{made['seeds']} other seeds most, the bottom points lower it most. Churn: share of {made['n_test']} test "
            "points that two seeds decide differently, mean over pairs.",
            **about,
        )
        values = np.array([100 * row["churn"] for row in controls])
        low, high = np.quantile(values, [0.025, 0.975])
        bars = {row["set"]: (100 * row["churn"],) * 3 for row in rows[:3]}
        bars["random"] = (float(values.mean()), float(low), float(high))
        picture = Picture(
            interval_bars(bars, label="Churn, %", title=name, reference=bars["nothing"][0]),
            f"Churn over the seeds that judge ({made['judges']}) without each set; random: mean and 95 % range of "
            f"{len(controls)} sets.",
            f"Churn without chosen training points of {name}",
        )
        top = 100 * rows[1]["churn"]
        below = int((values <= top).sum())
        answer = (
            f"without the {made['left_out']} points that raise the variance most, {made['judges']} other seeds differ "
            f"on {top:.2f} % of decisions, with all points on {100 * rows[0]['churn']:.2f} %; {below} of "
            f"{len(controls)} random sets of that size give as little"
        )
        findings.append(f"{name}: {answer}.")
        blocks += [table, picture]
        if not headlines:
            question = "Which training points make seeds disagree?"
            headlines.append(Headline("spread", question, f"{answer[0].upper()}{answer[1:]}.", table, picture))
    return Section("Disagreement between seeds", [*map(Finding, findings), *blocks], headlines)


def _line(row: SetRow) -> list[Any]:
    return [row["set"], 100 * row["churn"], row["variance"], 100 * row["accuracy"]]


def _means(rows: list[SetRow]) -> list[float]:
    return [
        float(100 * np.mean([row["churn"] for row in rows])),
        float(np.mean([row["variance"] for row in rows])),
        float(100 * np.mean([row["accuracy"] for row in rows])),
    ]
