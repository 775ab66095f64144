"""Report section of the trained networks: accuracy per group of cells, learning curves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analysis.pages.blocks import OVER_SEEDS, Block, Finding, Picture, Section, Table, Text, summary_cells
from analysis.style import PALETTE, in_style, new_figure
from pipeline.config.run import RunConfig
from pipeline.engine.build import Gathered
from pipeline.reporting.groups import grouped
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
    score = "test_rmse" if "test_rmse" in members[0].artifact.metrics else "test_accuracy"
    sized = "parameters" in members[0].artifact.metrics
    rows, findings = [], []
    for name, group in groups.items():
        values = [float(member.artifact.metrics[score]) for member in group]
        losses = [float(member.artifact.metrics["test_loss"]) for member in group]
        shown = summary_cells(values, within=(0, 1) if score == "test_accuracy" else None)
        size = [group[0].artifact.metrics["parameters"]] if sized else []
        rows.append([name, *size, *shown, sum(losses) / len(losses)])
        spread = f", from {min(values):.3f} to {max(values):.3f} between seeds" if len(values) > 1 else ""
        findings.append(
            f"{name}: mean {score.replace('_', ' ')} {sum(values) / len(values):.3f} (n = {len(values)}){spread}."
        )
    stage = members[0].artifact.stage
    columns = ["network", *(["parameters"] if sized else []), "runs", score.replace("_", " "), "sd"]
    table = Table(
        [*columns, "95 % interval of the mean", "test loss"],
        rows,
        f"{_WHAT.get(stage, 'Networks after training on {data}').format(data=config.data.name)}. {OVER_SEEDS}",
        keys=[member.artifact.key for member in members],
        command=members[0].command,
    )
    blocks: list[Block] = [table, *_left_random(groups)]
    if all(has_learning_curve(member.artifact) for member in members):
        blocks.append(
            Picture(
                learning_curves(groups),
                "Training (thin) and validation (bold) loss after each epoch, one line per seed.",
                "Learning curves of every run",
            )
        )
    return Section(_TITLE.get(stage, "Trained networks"), [*map(Finding, findings), *blocks])


def _left_random(groups: dict[str, list[Gathered]]) -> list[Block]:
    """Say of which tensors the files knew nothing, so that they are as initialized."""
    found = []
    for name, group in groups.items():
        metrics = group[0].artifact.metrics
        for words, names in (("not in the files, so random", "random"), ("in the files and not used", "unused")):
            if metrics.get(names):
                found.append(Text(f"{name}: {len(metrics[names])} tensors are {words}: {', '.join(metrics[names])}."))
    return list(found)


@in_style
def learning_curves(groups: dict[str, list[Gathered]]) -> Figure:
    """Draw the loss against epochs, one panel per group of cells."""
    figure, axes = new_figure(1, len(groups), sharey=True)
    for axis, (name, group) in zip(axes[0], groups.items(), strict=True):
        for member in group:
            rows = read_learning_curve(member.artifact)
            epochs = [int(row["epoch"]) for row in rows]
            dot = "o" if len(rows) == 1 else None  # a line of one point is invisible
            axis.plot(epochs, [row["train_loss"] for row in rows], marker=dot, color=PALETTE[0], alpha=0.45, lw=0.9)
            if "val_loss" in rows[0]:
                axis.plot(epochs, [row["val_loss"] for row in rows], marker=dot, color=PALETTE[1], alpha=0.85)
        axis.set(title=name, xlabel="epoch", ylabel="loss")
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.plot([], [], color=PALETTE[0], alpha=0.6, linewidth=0.9, label="training")
        axis.plot([], [], color=PALETTE[1], label="validation")
        axis.legend()
    return figure
