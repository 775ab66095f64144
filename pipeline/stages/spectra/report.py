"""Report section of weight spectra in real networks: class per matrix, tails with their null, kernel alignment."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from analysis.pages.blocks import Block, Finding, Headline, Picture, Section, Table, Text
from analysis.pages.cells import OVER_SEEDS, summary_cells
from analysis.spectra.figures import Curve, SpectrumPanel, figure_over_steps, figure_spectra
from analysis.spectra.marchenko_pastur import MarchenkoPastur, tracy_widom_edge
from analysis.spectra.weights import normalized_eigenvalues
from pipeline.config.run import RunConfig
from pipeline.engine.build import Gathered
from pipeline.reporting.groups import grouped, keys_of
from pipeline.reporting.headlines import over_seeds
from pipeline.stages.spectra.claims import optimizer_claims
from pipeline.stages.spectra.read import LayerRow, read_kernel, read_layers, read_spectrum

FRESH = (
    "These networks were trained elsewhere, and their own first weights are not known. What is called the start below "
    "is a fresh draw of the same network: its spectra are typical of a start, but no training led from it to the end. "
    "Files of several steps (weights.path with {step}, and snapshots.record=[spectra]) give the real one."
)
PANELS = 4
MEANS: tuple[Literal["ks_start", "outliers", "largest", "stable_rank"], ...] = (
    "ks_start",
    "outliers",
    "largest",
    "stable_rank",
)
"""Numbers of a matrix that are averaged over runs."""
MOVEMENTS: dict[str, Literal["kta", "movement", "distance"]] = {
    "kernel-target alignment": "kta",
    "‖K − K₀‖ / ‖K₀‖": "movement",
    "1 − CKA to the start": "distance",
}
"""Numbers of the probe kernel that are drawn over training."""


def section(members: list[Gathered], config: RunConfig) -> Section:
    """Tabulate spectra per group and per matrix, draw them, and compare optimizers where there are two."""
    groups = grouped(members)
    keys = keys_of(members)
    command = members[0].command
    with_kernel = [member for member in members if read_kernel(member.artifact)]
    blocks: list[Block] = [_overview(groups, keys, command)]
    blocks.append(_layers(groups, keys, command))
    blocks += _pictures(groups)
    if len(with_kernel) == len(members):
        blocks.append(_alignment(groups))
        blocks += optimizer_claims(members)
    if any(member.config.weights.source == "path" and not member.config.snapshots.record for member in members):
        blocks.insert(0, Text(FRESH))
    findings = [Finding(_finding(name, group), keys_of(group)) for name, group in groups.items()]
    return Section("Spectra of the weights", [*findings, *blocks], [*_moved(groups), *_aligned(groups)])


def _moved(groups: dict[str, list[Gathered]]) -> list[Headline]:
    """Answer how far training moved the spectra."""
    return over_seeds(
        "distance",
        "How far does training move the spectra of the weights?",
        "Spectra of the weights end at a Kolmogorov-Smirnov distance of {} from their start, where 0 is no change",
        groups,
        lambda member: member.artifact.metrics["ks_start_mean"],
        heading="KS distance to the start",
        about="Distance of each weight matrix's spectrum to its first one, mean over matrices; 0 is unchanged.",
        within=(0.0, 1.0),
    )


def _aligned(groups: dict[str, list[Gathered]]) -> list[Headline]:
    """Answer how much training aligned the probe kernel with the labels."""
    return over_seeds(
        "alignment",
        "How far does training align the kernel with the labels?",
        "Training changes the centered alignment of the probe kernel with the labels by {}",
        groups,
        lambda member: _gain(member),
        heading="gain in alignment",
        about="Alignment of the probe kernel with the labels, at the end minus at the start.",
        within=(-2.0, 2.0),
        reference=0.0,
    )


def _gain(member: Gathered) -> float | None:
    start, end = (member.artifact.metrics.get(name) for name in ("kernel_kta_start", "kernel_kta"))
    return None if start is None or end is None else float(end) - float(start)


def _finding(name: str, group: Sequence[Gathered]) -> str:
    classes = Counter(row["class"] for member in group for row in read_layers(member.artifact))
    counts = ", ".join(f"{count} {label}" for label, count in classes.most_common())
    return f"{name}: of {sum(classes.values())} weight matrices in {len(group)} runs, {counts}."


def _overview(groups: dict[str, list[Gathered]], keys: list[str], command: str) -> Table:
    rows = []
    for name, group in groups.items():
        metrics = [member.artifact.metrics for member in group]
        distance = [float(entry["ks_start_mean"]) for entry in metrics if entry["ks_start_mean"] is not None]
        start = [entry["kernel_kta_start"] for entry in metrics if entry.get("kernel_kta_start") is not None]
        end = [entry["kernel_kta"] for entry in metrics if entry.get("kernel_kta") is not None]
        here = group[0].config.weights.source == "train"
        sgd = here and group[0].config.training.optimizer in ("sgd", "nesterov")
        multiple = [group[0].config.training.lr / entry["critical_rate"] for entry in metrics]
        rows.append(
            [
                name,
                float(np.mean(multiple)) if sgd else math.nan,
                metrics[0]["matrices"],
                len(metrics[0]["skipped"]),
                *summary_cells(distance, within=(0, 1)),
                float(np.mean([entry["outliers"] for entry in metrics])),
                float(np.mean([entry["heavy_tails"] for entry in metrics])),
                float(np.mean(start)) if start else math.nan,
                float(np.mean(end)) if end else math.nan,
            ]
        )
    return Table(
        [
            "group",
            "rate / critical rate",
            "matrices",
            "skipped",
            "runs",
            "KS to start",
            "sd",
            "95 % interval",
            "outliers",
            "significant tails",
        ]
        + ["KTA at start", "KTA at end"],
        rows,
        "KS to start: Kolmogorov-Smirnov distance of each matrix's spectrum to its own first one, averaged over "
        "matrices. Outliers and significant tails (heavier than noise of the same shape): per run, over all matrices. "
        "Skipped: weights of one dimension, and matrices with a short side."
        + " Critical rate: 2 over the largest eigenvalue of the Gauss-Newton matrix on the first batch, before "
        "training, momentum left out."
        * any(row[1] == row[1] for row in rows)
        + " KTA: centered alignment of the probe kernel with the labels." * any(row[-1] == row[-1] for row in rows)
        + f" {OVER_SEEDS}",
        keys=keys,
        command=command,
    )


def _layers(groups: dict[str, list[Gathered]], keys: list[str], command: str) -> Table:
    rows: list[list[Any]] = []
    for name, group in groups.items():
        tables = [{row["matrix"]: row for row in read_layers(member.artifact)} for member in group]
        for matrix, first in tables[0].items():
            same = [table[matrix] for table in tables if matrix in table]
            classes = Counter(row["class"] for row in same)
            significant = [row["alpha"] for row in same if not math.isnan(row["alpha"])]
            rows.append(
                [
                    name,
                    matrix,
                    f"{first['rows']}×{first['columns']}",
                    len(same),
                    ", ".join(f"{label} ({count} of {len(same)})" for label, count in classes.most_common()),
                    *(_mean([row[key] for row in same]) for key in MEANS),
                    f"{_mean(significant):.2f} ({len(significant)} of {len(same)})"
                    if significant
                    else "not significant",
                    _sound([row["weightwatcher_alpha"] for row in same]),
                    first["note"] or "–",
                ]
            )
    return Table(
        ["group", "matrix", "shape", "runs", "class", "KS to start", "outliers", "λ₁", "stable rank", "tail α"]
        + ["WeightWatcher α", "note"],
        rows,
        "Every matrix against its own start, means over runs. Outliers are eigenvalues beyond the Marchenko-Pastur "
        "edge of the first weights plus four Tracy-Widom scales; -1 where those were not independent draws. "
        "Class, by outliers and distance alone: invariant has no outlier and a bulk that stays; bulk+spike has one to "
        "five outliers over such a bulk; heavy/deformed has more, and a bulk that moved; mixed is anything else. Tail "
        "α: exponent of the power law, where noise of the same shape gives none. WeightWatcher α: that tool's "
        "exponent, which noise gives too, over the runs where its own fit is sound (50 eigenvalues or more, 2 to 6).",
        keys=keys,
        command=command,
    )


def _mean(values: Sequence[float]) -> float:
    return float(np.nanmean(values)) if any(not math.isnan(value) for value in values) else math.nan


def _sound(alphas: Sequence[float]) -> str:
    """Mean of WeightWatcher's exponents, and in how many runs there is one."""
    known = [alpha for alpha in alphas if not math.isnan(alpha)]
    return f"{np.mean(known):.2f} ({len(known)} of {len(alphas)})" if known else "not sound"


def _pictures(groups: dict[str, list[Gathered]]) -> list[Picture]:
    """Spectra of the matrix that moved most, before and after, per group."""
    moved: dict[str, list[float]] = {}
    for group in groups.values():
        for row in read_layers(group[0].artifact):
            if not math.isnan(row["ks_start"]):
                moved.setdefault(row["matrix"], []).append(row["ks_start"])
    if not moved:
        return []
    matrix = max(moved, key=lambda name: max(moved[name]))
    panels = []
    for name, group in list(groups.items())[:PANELS]:
        found = {row["matrix"]: row for row in read_layers(group[0].artifact)}.get(matrix)
        spectrum = read_spectrum(group[0].artifact, matrix)
        if found is not None and spectrum is not None:
            panels.append(_panel(name, found, *spectrum))
    if not panels:
        return []
    caption = f"Spectrum of {matrix}, the matrix that moved most, first seed; eigenvalues in units of the first bulk."
    return [
        Picture(
            figure_spectra(panels),
            caption,
            f"Histograms of the eigenvalues of {matrix} before and after training, with the law of noise",
        )
    ]


def _panel(name: str, row: LayerRow, start: np.ndarray, end: np.ndarray) -> SpectrumPanel:
    shape = (int(row["rows"]), int(row["columns"]))
    variance = float(np.sum(start**2)) / (shape[0] * shape[1]) or 1.0
    before, after = (normalized_eigenvalues(values, shape, variance) for values in (start, end))
    if row["outliers"] < 0:
        return SpectrumPanel(name, before, after)
    law = MarchenkoPastur(min(shape) / max(shape))
    return SpectrumPanel(name, before, after, law, tracy_widom_edge(max(shape), min(shape)).threshold())


def _alignment(groups: dict[str, list[Gathered]]) -> Picture:
    panels: dict[str, dict[str, Curve]] = {label: {} for label in MOVEMENTS}
    for name, group in groups.items():
        tables = [read_kernel(member.artifact) for member in group]
        steps = [row["step"] for row in tables[0]]
        tables = [table for table in tables if [row["step"] for row in table] == steps]
        for label, key in MOVEMENTS.items():
            values = np.array([[float(row[key]) for row in table] for table in tables])
            panels[label][name] = Curve(np.array(steps), values)
    return Picture(
        figure_over_steps(panels),
        "Probe kernel over training: centered alignment with the labels, movement, and 1 - CKA to its start; mean over "
        "seeds, band from least to most.",
        "Alignment of the probe kernel with the labels, and its movement, over training steps",
    )
