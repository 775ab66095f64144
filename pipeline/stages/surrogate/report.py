"""Report section of the surrogates: faithfulness by kernel, published targets, the order of the kernels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from analysis.attribution.figures import confidence_scatter, interval_bars
from analysis.surrogates.faithfulness import confidences, log_odds
from analysis.verdicts import student_mean_interval
from pipeline.config.run import RunConfig
from pipeline.engine.build import Gathered
from pipeline.reporting.blocks import Block, Picture, Section, Table, summary_cells
from pipeline.reporting.groups import grouped
from pipeline.stages.surrogate.claims import order_verdicts, target_verdicts
from pipeline.stages.surrogate.measures import MEASURES, values_over_runs
from pipeline.stages.surrogate.read import read_predictions, read_published


def section(members: list[Gathered], config: RunConfig) -> Section:
    """Tabulate faithfulness over seeds, group by group, and decide what ``report.options`` names.

    ``report.options.targets`` is a list of ``{cells, measure, low, high, published, standing}``: the mean over seeds
    is compared with the band [low, high], for the groups whose label contains ``cells``.
    ``report.options.order`` lists labels of groups from the most to the least faithful by τ.
    """
    groups = grouped(members)
    blocks: list[Block] = [_table(groups, members), *_split_tables(groups)]
    blocks.append(_bars(groups))
    name, group = next(iter(groups.items()))
    blocks.append(_scatter(name, group[0]))
    options = config.report.options
    for target in options.get("targets", []):
        blocks += target_verdicts(target, groups)
    order = options.get("order", [])
    if order:
        blocks += order_verdicts([str(label) for label in order], groups)
    blocks += _published(groups)
    findings = []
    for label, group in groups.items():
        values = values_over_runs(group, "tau")
        mean, _, low, high = student_mean_interval(values)
        interval = "" if math.isnan(low) else f" [{low:.3f}, {high:.3f}]"
        findings.append(f"{label}: Kendall τ to the network {mean:.3f}{interval} over {len(values)} run(s).")
    return Section("Surrogates", blocks, findings)


def _table(groups: dict[str, list[Gathered]], members: list[Gathered]) -> Table:
    rows = []
    for name, group in groups.items():
        for measure, (heading, scale) in MEASURES.items():
            rows.append([name, heading, *summary_cells(values_over_runs(group, measure, scale))])
    fits = [member.artifact.metrics["fit"] for member in members if member.artifact.metrics.get("fit")]
    converged = sum(bool(fit["converged"]) for fit in fits)
    note = f" {converged} of {len(fits)} iterative fits converged to their tolerance." if fits else ""
    return Table(
        ["cells", "measure", "runs", "mean", "sd", "95 % interval"],
        rows,
        "Surrogates against their networks on the first test split. TAD is the surrogate's accuracy minus the "
        "network's; τ ranks the log-odds of the true class; R_miss is the share of the errors that the surrogate "
        "repeats (runs without errors are left out). n counts seeds, intervals are Student's t over seeds." + note,
        keys=[member.artifact.key for member in members],
        command=members[0].command,
    )


def _split_tables(groups: dict[str, list[Gathered]]) -> list[Table]:
    """Tabulate the further test splits (triggered, shifted) apart."""
    rows, keys = [], []
    first = next(iter(groups.values()))[0]
    for name, group in groups.items():
        for split in list(group[0].artifact.metrics["n_test"])[1:]:
            for measure in ("network_accuracy", "surrogate_accuracy", "tad", "tau"):
                heading, scale = MEASURES[measure]
                values = values_over_runs(group, f"{split}_{measure}", scale)
                rows.append([name, split, heading, *summary_cells(values)])
            keys += [member.artifact.key for member in group]
    if not rows:
        return []
    columns = ["cells", "split", "measure", "runs", "mean", "sd", "95 % interval"]
    return [Table(columns, rows, "The same on further test splits.", keys=keys, command=first.command)]


def _bars(groups: dict[str, list[Gathered]]) -> Picture:
    bars = {}
    for name, group in groups.items():
        mean, _, low, high = student_mean_interval(values_over_runs(group, "tau"))
        bars[name] = (mean, mean if math.isnan(low) else low, mean if math.isnan(high) else high)
    return Picture(
        interval_bars(bars, label="Kendall τ, log-odds of the true class", title="Faithfulness by group"),
        "Mean τ over seeds with its 95 % interval (Student's t).",
        "Kendall tau of each group of cells",
    )


def _scatter(name: str, member: Gathered) -> Picture:
    arrays = read_predictions(member.artifact)
    split = next(iter(member.artifact.metrics["n_test"]))
    labels = arrays[f"{split}.labels"]
    odds = [log_odds(arrays[f"{split}.{side}"].astype(np.float64)) for side in ("network", "surrogate")]
    network, surrogate = (values[:, 0] for values in confidences(odds[0], odds[1], labels, "correct"))
    right = arrays[f"{split}.network"].argmax(1) == labels
    tau = member.artifact.metrics["tau"]
    return Picture(
        confidence_scatter(network, surrogate, right, tau=float("nan") if tau is None else tau),
        f"{name}, first run: every point of {split}, the network's confidence against the surrogate's.",
        "Confidence of the surrogate against that of the network",
        raster=True,
    )


def _published(groups: dict[str, list[Gathered]]) -> list[Table]:
    """Show the published code's numbers beside the corrected ones, averaged over seeds."""
    rows: list[list[Any]] = []
    keys: list[str] = []
    command = ""
    for name, group in groups.items():
        found = {member.artifact.key: read_published(member.artifact) for member in group}
        found = {key: numbers for key, numbers in found.items() if numbers}
        if not found:
            continue
        keys += found
        command = command or next(member.command for member in group if member.artifact.key in found)
        pairs: dict[tuple[str, str], list[tuple[float, float]]] = {}
        for numbers in found.values():
            for row in numbers:
                if row["corrected"] is not None and row["published"] is not None:
                    pairs.setdefault((row["defect"], row["quantity"]), []).append((row["corrected"], row["published"]))
        for (defect, quantity), values in pairs.items():
            corrected, published = (np.array(column) for column in zip(*values, strict=True))
            spread = f"{published.min():.4g} to {published.max():.4g}"
            rows.append([name, defect, quantity, len(values), float(corrected.mean()), float(published.mean()), spread])
    if not rows:
        return []
    return [
        Table(
            ["cells", "defect", "quantity", "values", "corrected", "published protocol", "its range"],
            rows,
            "Defects of the published code, each repeated alone beside the corrected number (mean over runs; the "
            "solver's rows also over refits with different seeds, which unseeded published fits differ by).",
            keys=keys,
            command=command,
        )
    ]
