"""Report section of the trained networks: accuracy per group of cells, learning curves."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from analysis.pages.blocks import Block, Finding, Picture, Section, Table, Text
from analysis.pages.cells import OVER_SEEDS, summary_cells
from analysis.style import in_style, new_figure, of_seed, seed_color, seed_legend
from pipeline.config.run import RunConfig
from pipeline.engine.build import Gathered
from pipeline.reporting.groups import grouped, keys_of, seeds_of
from pipeline.reporting.headlines import over_seeds
from pipeline.reporting.spoken import SHARE
from pipeline.stages.train.read import has_learning_curve, read_learning_curve

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_TITLE = {"checkpoint": "Networks from files", "outputs": "Runs from files"}
_WHAT = {
    "checkpoint": "Networks that were trained elsewhere, with the weights of their files, evaluated on {data}",
    "outputs": "Runs that were made elsewhere, by the outputs in their files",
}
"""Of sections about what was not trained here, by the stage that read it."""


def section(members: list[Gathered], config: RunConfig) -> Section:
    """Tabulate final scores over seeds and draw the learning curves of what was trained here."""
    groups = grouped(members)
    real = "test_rmse" in members[0].artifact.metrics
    score, scale, heading = ("test_rmse", 1.0, "test RMSE") if real else ("test_accuracy", 100.0, "test accuracy %")
    sized = "parameters" in members[0].artifact.metrics
    rows, findings = [], []
    for name, group in groups.items():
        values = [scale * float(member.artifact.metrics[score]) for member in group]
        losses = [float(member.artifact.metrics["test_loss"]) for member in group]
        shown = summary_cells(values, within=(0, math.inf) if real else SHARE)
        size = [group[0].artifact.metrics["parameters"]] if sized else []
        rows.append([name, *size, *shown, sum(losses) / len(losses)])
        if len(values) > 1:
            unit = "" if real else " %"
            spread = f"{heading.removesuffix(' %')} from {min(values):.4g} to {max(values):.4g}{unit}"
            findings.append(Finding(f"{name}: {spread} between {len(values)} seeds.", keys_of(group)))
    stage = members[0].artifact.stage
    columns = ["network", *(["parameters"] if sized else []), "runs", heading, "sd"]
    table = Table(
        [*columns, "95 % interval of the mean", "test loss"],
        rows,
        f"{_WHAT.get(stage, 'Networks after training on {data}').format(data=config.data.name)}, scored on "
        f"{_rows(members)}. {OVER_SEEDS}",
        keys=keys_of(members),
        command=members[0].command,
    )
    blocks: list[Block] = [table, *_left_random(groups)]
    if all(has_learning_curve(member.artifact) for member in members):
        blocks.append(
            Picture(
                learning_curves(groups),
                "Loss after each epoch, one color per seed: on validation rows (line) and on training rows (dashed).",
                _curves_alt(groups),
            )
        )
    headlines = over_seeds(
        "accuracy",
        "How good are the networks, and how much of it is the seed?",
        f"Test {'RMSE' if real else 'accuracy'} is {{}} on {_rows(members)}",
        groups,
        lambda member: scale * float(member.artifact.metrics[score]),
        heading=heading.removesuffix(" %"),
        about=f"Scores on {_rows(members)}.",
        unit="" if real else "%",
        within=(0, math.inf) if real else SHARE,
    )
    return Section(_TITLE.get(stage, "Trained networks"), [*findings, *blocks], headlines)


def _rows(members: list[Gathered]) -> str:
    """Name the rows that a network is scored on here; other sections score it on some of them."""
    counts = {int(member.artifact.metrics["test_n"]) for member in members if "test_n" in member.artifact.metrics}
    return f"all {' or '.join(f'{count:,}' for count in sorted(counts))} test rows" if counts else "the test rows"


def _left_random(groups: dict[str, list[Gathered]]) -> list[Block]:
    """Say of which tensors the files knew nothing, so that they are as initialized."""
    found = []
    for name, group in groups.items():
        metrics = group[0].artifact.metrics
        for words, names in (("not in the files, so random", "random"), ("in the files and not used", "unused")):
            if metrics.get(names):
                said = f"{name}: {len(metrics[names])} tensors are {words}: {', '.join(metrics[names])}."
                found.append(Text(said, keys_of(group)))
    return list(found)


def _curves_alt(groups: dict[str, list[Gathered]]) -> str:
    """Say what the curves show: the loss of the last epoch, from the best run to the worst."""
    said = []
    for name, group in groups.items():
        last = [read_learning_curve(member.artifact)[-1]["train_loss"] for member in group]
        said.append(f"{name} ends at a training loss of {min(last):.3g} to {max(last):.3g}")
    return f"Loss against epochs: {'; '.join(said)}"


@in_style
def learning_curves(groups: dict[str, list[Gathered]]) -> Figure:
    """Draw the loss against epochs, one panel per group of cells: validation as a line, training dashed."""
    figure, axes = new_figure(1, len(groups), sharey=True)
    for axis, (name, group) in zip(axes[0], groups.items(), strict=True):
        seeds = seeds_of(group)
        for place, (seed, member) in enumerate(zip(seeds, group, strict=True)):
            rows = read_learning_curve(member.artifact)
            epochs = [int(row["epoch"]) for row in rows]
            dot = "o" if len(rows) == 1 else None  # a line of one point is invisible
            color = seed_color(place)
            curves = [("train_loss", "--", 0.9)] + ([("val_loss", "-", 1.6)] if "val_loss" in rows[0] else [])
            for column, style, width in curves:
                losses = [row[column] for row in rows]
                lines = axis.plot(epochs, losses, style, marker=dot, color=color, alpha=0.85, lw=width)
                of_seed(lines, seed)
        axis.set(title=name, xlabel="epoch", ylabel="loss")
        if max(len(read_learning_curve(member.artifact)) for member in group) == 1:
            axis.set_xticks(epochs)
        else:
            axis.xaxis.get_major_locator().set_params(integer=True)
        seed_legend(axis, seeds)
    return figure
