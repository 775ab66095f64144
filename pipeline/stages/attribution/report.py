"""Report section of the attributions: galleries, sparsity, and how each method ranks planted points."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np

from analysis.attribution.decomposition import TopScores
from analysis.attribution.figures import image_gallery, precision_recall_curves, share_curves
from analysis.pages.blocks import OVER_SEEDS, Block, Finding, Picture, Section, Table, Text, summary_cells
from pipeline.config.run import RunConfig
from pipeline.engine.build import Gathered
from pipeline.reporting.groups import grouped
from pipeline.stages.attribution.read import (
    MaskRow,
    read_gallery_images,
    read_gallery_texts,
    read_mask_arrays,
    read_masks,
    read_sparsity,
)

MEASURES: tuple[Literal["precision", "recall", "auprc", "roc_auc"], ...] = ("precision", "recall", "auprc", "roc_auc")


def section(members: list[Gathered], config: RunConfig) -> Section:
    """Show a gallery, sparsity curves and, where points were planted, how each method ranks them."""
    groups = grouped(members)
    blocks: list[Block] = [_sparsity_table(groups, members), _sparsity_picture(groups)]
    for name, group in groups.items():
        blocks += _gallery(name, group[0], config)
    findings = []
    for name, group in groups.items():
        metrics = [member.artifact.metrics for member in group]
        half, whole = (float(np.median([entry[key] for entry in metrics])) for key in ("points_50", "n_train"))
        findings.append(
            f"{name}: {half:.0f} of {whole:.0f} training points carry half of the attribution (median, "
            f"n = {len(group)})."
        )
        blocks += _mask_blocks(name, group, findings)
    return Section("Attribution", [*map(Finding, findings), *blocks])


def _sparsity_table(groups: dict[str, list[Gathered]], members: list[Gathered]) -> Table:
    rows = []
    names = {
        "gini": "Gini of |A|",
        "points_50": "points for 50 %",
        "points_95": "points for 95 %",
        "mean_inside_quartiles": "mean inside quartiles (share of tests)",
    }
    for name, group in groups.items():
        for key, heading in names.items():
            values = [float(member.artifact.metrics[key]) for member in group]
            within = (0.0, math.inf) if key.startswith("points") else (0.0, 1.0)
            rows.append([name, heading, *summary_cells(values, within)])
    return Table(
        ["cells", "measure", "runs", "mean", "sd", "95 % interval"],
        rows,
        "How many training points carry an attribution. Per run: the mean (Gini, share) or median (points) over test "
        "points. arXiv 2305.14585 reports that attributions are not sparse (second-hand). " + OVER_SEEDS,
        keys=[member.artifact.key for member in members],
        command=members[0].command,
    )


def _sparsity_picture(groups: dict[str, list[Gathered]]) -> Picture:
    curves = {}
    for name, group in groups.items():
        arrays = read_sparsity(group[0].artifact)
        split = _first_split(arrays, ".curve")
        curves[name] = (arrays[f"{split}.curve_points"], arrays[f"{split}.curve"])
    return Picture(
        share_curves(curves),
        "Share of the absolute attribution that the strongest training points carry, first run of each group.",
        "Sparsity curves of the attributions",
    )


def _first_split(arrays: dict[str, np.ndarray], suffix: str) -> str:
    splits = [name.removesuffix(suffix) for name in arrays if name.endswith(suffix)]
    return "test" if "test" in splits else splits[0]


def _gallery(name: str, member: Gathered, config: RunConfig) -> list[Block]:
    artifact = member.artifact
    names = _class_names(member)
    if (arrays := read_gallery_images(artifact)) is not None:
        m, k = arrays["scores"].shape
        places = np.arange(m * k).reshape(m, k)
        channels_last = np.moveaxis(arrays["train"].reshape(m * k, *arrays["train"].shape[2:]), 1, -1)
        figure = image_gallery(
            np.ascontiguousarray(np.moveaxis(arrays["test"], 1, -1)),
            np.ascontiguousarray(channels_last),
            TopScores(places, arrays["scores"]),
            arrays["labels"],
            arrays["classes"],
            arrays["train_labels"].ravel(),
            names,
            marked=arrays["train_injected"].ravel().astype(bool) if arrays["train_injected"].any() else None,
        )
        caption = f"{name}, first run: test images (the network's errors first), most supporting training images."
        return [Picture(figure, caption, "Gallery of the most supporting training images", raster=True)]
    if (texts := read_gallery_texts(artifact)) is None:
        return []
    if not config.report.show_text:
        return [Text(f"{name}: texts are hidden; report.show_text=true shows the most supporting training texts.")]
    rows = [
        [row["test"], names[row["label"]], names[row["attributed"]], row["rank"], row["score"], row["training text"]]
        + [names[row["training label"]]]
        for row in texts
    ]
    columns = ["test text", "true", "attributed", "rank", "score", "training text", "training label"]
    caption = f"{name}, first run: test texts and the training texts that support the attributed class most."
    return [Table(columns, rows, caption, keys=[artifact.key], command=member.command)]


def _class_names(member: Gathered) -> list[str]:
    given, kept = list(member.config.data.class_names or []), member.config.data.subset.classes
    names = [given[c] if c < len(given) else str(c) for c in kept] if kept else given
    return names + [str(c) for c in range(len(names), 1000)]


def _mask_blocks(name: str, group: list[Gathered], findings: list[str]) -> list[Block]:
    """Tabulate every mask and method over seeds and draw the curves of the first run."""
    found = [member for member in group if read_masks(member.artifact)]
    if not found:
        return []
    values: dict[tuple[str, str], list[MaskRow]] = {}
    for member in found:
        for row in read_masks(member.artifact):
            values.setdefault((row["mask"], row["method"]), []).append(row)
    rows: list[list[Any]] = []
    for (mask, method), runs in values.items():
        for measure in MEASURES:
            numbers = [float(value) for run in runs if (value := run[measure]) is not None]
            if numbers:
                base = runs[0]["prevalence"]
                rows.append([mask, method, measure, *summary_cells(numbers, within=(0, 1)), base])
    table = Table(
        ["mask", "method", "measure", "runs", "mean", "sd", "95 % interval", "prevalence"],
        rows,
        f"{name}: planted points found by each method. Precision and recall at as many points as are planted (train "
        "side) or of the flags (test side); AUPRC is step-wise; ties are averaged. Prevalence is what chance gives. "
        + OVER_SEEDS,
        keys=[member.artifact.key for member in found],
        command=found[0].command,
    )
    first = next(iter(values))[0]
    best = {m: np.mean([run["auprc"] for run in runs]) for (mask, m), runs in values.items() if mask == first}
    order = sorted(best, key=lambda method: -best[method])
    ranking = ", ".join(f"{method} {best[method]:.3f}" for method in order)
    findings.append(f"{name}: AUPRC for {first} (n = {len(found)}): {ranking}.")
    arrays = read_mask_arrays(found[0].artifact)
    scores = {method: arrays[f"score.{method}"] for method in order}
    picture = Picture(
        precision_recall_curves(scores, arrays["injected"].astype(bool), title=first[0].upper() + first[1:]),
        f"{name}: precision against recall of the first run.",
        "Precision and recall of each attribution method",
    )
    return [table, picture]
