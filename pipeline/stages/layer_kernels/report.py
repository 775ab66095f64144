"""Report section of the layer kernels: accuracy by layer, and whether every route gives the same kernel."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from analysis.pages.blocks import Block, Finding, Picture, Section, Table
from analysis.pages.cells import OVER_SEEDS, summary_cells
from analysis.style import PALETTE, in_style, legend_below, new_figure
from analysis.verdicts import run_interval_within
from pipeline.config.run import RunConfig
from pipeline.engine.build import Gathered
from pipeline.reporting.groups import grouped, keys_of
from pipeline.reporting.headlines import over_seeds
from pipeline.reporting.spoken import SHARE
from pipeline.stages.layer_kernels.claims import routes_agree
from pipeline.stages.layer_kernels.read import WHOLE, read_layer_kernels, read_routes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Column = Literal["accuracy", "alignment", "effective_rank", "trace_share"]
OTHERS: tuple[Column, ...] = ("alignment", "effective_rank", "trace_share")
"""Columns beside the accuracy that the table shows as means."""


def section(members: list[Gathered], config: RunConfig) -> Section:
    """Tabulate and draw the layers of each group of cells, and whether the routes agree."""
    groups = grouped(members)
    layers = {name: _by_layer(group) for name, group in groups.items()}
    keys = keys_of(members)
    rows = [
        [
            name,
            layer,
            *summary_cells([100 * v for v in values["accuracy"]], within=(0, 100)),
            *(_mean(values[other]) for other in OTHERS),
        ]
        for name, found in layers.items()
        for layer, values in found.items()
    ]
    first = members[0].artifact.metrics
    table = Table(
        ["group", "layer", "runs", "accuracy %", "sd", "95 % interval", "alignment", "effective rank", "trace share"],
        rows,
        f"Kernel machine ({config.surrogate.kind}) on the {first['kind']} part of each layer, cosine-normalized by "
        f"itself: fitted on {first['n_train']} training points, accuracy on {first['n_test']} test points. The share "
        "is that of the unnormalized trace. A frozen layer has no part. " + OVER_SEEDS,
        keys=keys,
        command=members[0].command,
    )
    picture = Picture(
        accuracy_figure(layers, groups),
        "Test accuracy of a kernel machine on each layer's part of the tangent kernel: mean over seeds with its 95 % "
        "interval. Dashed: the networks themselves.",
        "Accuracy of a kernel machine on each layer's kernel",
    )
    findings = [Finding(_finding(name, found), keys_of(groups[name])) for name, found in layers.items()]
    blocks: list[Block] = [*findings, table, picture, _agreement(members, keys), routes_agree(members)]
    headlines = over_seeds(
        "accuracy",
        "How accurate is a kernel machine on the tangent kernel of the whole network?",
        f"A kernel machine on the kernel of all layers gets {{}} of {first['n_test']:,} test rows right",
        groups,
        lambda member: next(
            100 * row["accuracy"] for row in read_layer_kernels(member.artifact) if row["layer"] == WHOLE
        ),
        heading="accuracy",
        about=f"Kernel of all layers, fitted on {first['n_train']:,} training rows, {first['n_test']:,} test rows.",
        unit="%",
        within=SHARE,
    )
    return Section("Layer kernels", blocks, headlines)


def _by_layer(group: list[Gathered]) -> dict[str, dict[str, list[float]]]:
    found: dict[str, dict[str, list[float]]] = {}
    for member in group:
        for row in read_layer_kernels(member.artifact):
            values = found.setdefault(row["layer"], defaultdict(list))
            values["accuracy"].append(row["accuracy"])
            for name in OTHERS:
                values[name].append(row[name])
    return found


def _mean(values: list[float]) -> float:
    return float(np.mean(values))


def _finding(name: str, found: dict[str, dict[str, list[float]]]) -> str:
    parts = {layer: _mean(values["accuracy"]) for layer, values in found.items() if layer != WHOLE}
    best = max(parts, key=lambda layer: parts[layer])
    whole = _mean(found[WHOLE]["accuracy"])
    return (
        f"{name}: the kernel of {best} alone reaches {100 * parts[best]:.1f} %, that of all layers {100 * whole:.1f} %."
    )


def _agreement(members: list[Gathered], keys: list[str]) -> Table:
    worst: dict[tuple[str, str], float] = {}
    for member in members:
        for row in read_routes(member.artifact):
            route = row["method"], row["precision"]
            worst[route] = max(row["difference"], worst.get(route, 0.0))
    rows: list[list[Any]] = [[*route, f"{difference:.1e}"] for route, difference in worst.items()]
    return Table(
        ["route", "precision", "largest difference"],
        rows,
        f"Entry differences to a float64 loop over samples, in units of sqrt(K_ii K_jj); the worst of {len(members)} "
        "networks. In float32 a unit at its kink may fall on either side; routes agree on it only where they share "
        "the forward pass.",
        keys=keys,
        command=members[0].command,
    )


@in_style
def accuracy_figure(layers: dict[str, dict[str, dict[str, list[float]]]], groups: dict[str, list[Gathered]]) -> Figure:
    """Draw accuracy against layer, one line per group of cells."""
    figure, axes = new_figure(width=5.2, height=3.8)
    axis = axes[0, 0]
    names = list(dict.fromkeys(layer for found in layers.values() for layer in found))
    for (group, found), color in zip(layers.items(), PALETTE, strict=False):
        here = [i for i, layer in enumerate(names) if layer in found]
        summary = [run_interval_within(found[names[i]]["accuracy"], 0, 1) for i in here]
        mean = np.array([entry[0] for entry in summary])
        low, high = (np.array([entry[k] for entry in summary]) for k in (2, 3))
        spread = np.nan_to_num(np.stack([mean - low, high - mean]))
        axis.errorbar(here, mean, yerr=spread, color=color, marker="o", capsize=3, label=group)
        network = np.mean([member.artifact.metrics["network_accuracy"] for member in groups[group]])
        axis.axhline(float(network), color=color, linestyle="--", linewidth=1)
    axis.set_xticks(
        range(len(names)), names, rotation=30 if len(names) > 5 else 0, ha="right" if len(names) > 5 else "center"
    )
    axis.set(ylabel="test accuracy", title="Kernel machine on each layer's kernel")
    legend_below(axis, columns=2)
    return figure
