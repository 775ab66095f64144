"""Report section of the attributions: galleries, sparsity, and how each method ranks planted points."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np

from analysis.attribution.figures import precision_recall_curves, share_curves
from analysis.pages.blocks import (
    Block,
    Finding,
    Gallery,
    Headline,
    MarkedText,
    MarkedTexts,
    Picture,
    Section,
    Shot,
    Table,
    Text,
)
from analysis.pages.cells import OVER_SEEDS, summary_cells
from pipeline.config.run import RunConfig
from pipeline.engine.build import Gathered
from pipeline.reporting.groups import grouped, keys_of
from pipeline.reporting.headlines import over_seeds
from pipeline.reporting.spoken import over_runs
from pipeline.stages.attribution.read import (
    MaskRow,
    read_gallery_images,
    read_gallery_texts,
    read_mask_arrays,
    read_masks,
    read_sparsity,
    read_token_pairs,
    read_tokens,
)

MEASURES: tuple[Literal["precision", "recall", "auprc", "roc_auc"], ...] = ("precision", "recall", "auprc", "roc_auc")


def section(members: list[Gathered], config: RunConfig) -> Section:
    """Show a gallery, sparsity curves and, where points were planted, how each method ranks them."""
    groups = grouped(members)
    blocks: list[Block] = [_sparsity_table(groups, members, config), _sparsity_picture(groups)]
    for name, group in groups.items():
        blocks += _gallery(name, group[0], config)
    findings: list[Finding] = []
    for name, group in groups.items():
        blocks += _mask_blocks(name, group, findings)
    return Section("Attribution", [*findings, *blocks], [*_planted(groups), *_half(groups)])


def _half(groups: dict[str, list[Gathered]]) -> list[Headline]:
    """Answer how many training points speak for a decision."""
    points = {int(member.artifact.metrics["n_train"]) for group in groups.values() for member in group}
    whole = " or ".join(f"{count:,}" for count in sorted(points))
    return over_seeds(
        "sparsity",
        "How many training images or texts speak for a decision?",
        f"Half of the attribution of a decision rests on {{}} of {whole} training points",
        groups,
        lambda member: member.artifact.metrics["points_50"],
        heading="points that carry half",
        about="Fewest training points with half of the absolute attribution, median over test points.",
        within=(0.0, math.inf),
    )


def _planted(groups: dict[str, list[Gathered]]) -> list[Headline]:
    """Answer how well planted points are found, by the method that finds most of them on average."""
    first = {name: [_first_mask(member) for member in group] for name, group in groups.items()}
    names = list(dict.fromkeys(method for found in first.values() for rows in found for method in rows))
    names = [name for name in names if name not in ("random", "same_label", "same label")]
    if not names:
        return []

    def mean(method: str) -> float:
        return float(np.mean([rows[method] for found in first.values() for rows in found if method in rows]))

    best = max(names, key=mean)
    mask = next(row["mask"] for group in groups.values() for member in group for row in read_masks(member.artifact))
    rivals = ", ".join(f"{name} {mean(name):.3f}" for name in sorted(names, key=mean, reverse=True)[1:4])
    return over_seeds(
        "planted",
        "Which attribution method finds the planted points?",
        f"{best} finds {mask} best, with an area under precision and recall of {{}}"
        + (f"; then {rivals} (means over all groups)" if rivals else ""),
        groups,
        lambda member: _first_mask(member).get(best),
        heading="AUPRC",
        about=f"{best} on {mask}; 1 is perfect, chance gives their share.",
        within=(0.0, 1.0),
    )


def _first_mask(member: Gathered) -> dict[str, float]:
    """AUPRC of each method for the first mask of a run."""
    rows = read_masks(member.artifact)
    return {row["method"]: row["auprc"] for row in rows if row["mask"] == rows[0]["mask"] and row["auprc"] is not None}


def _sparsity_table(groups: dict[str, list[Gathered]], members: list[Gathered], config: RunConfig) -> Table:
    names = {
        "gini": ("Gini of |A|", (0.0, 1.0)),
        "points_50": ("points for 50 %", (0.0, math.inf)),
        "points_95": ("points for 95 %", (0.0, math.inf)),
        "mean_inside_quartiles": ("mean inside quartiles (share of tests)", (0.0, 1.0)),
    }
    rows = [
        [
            name,
            len(group),
            *(
                over_runs([float(member.artifact.metrics[key]) for member in group], within)
                for key, (_, within) in names.items()
            ),
        ]
        for name, group in groups.items()
    ]
    paper = "2305.14585" in config.report.study
    return Table(
        ["group", "runs", *(heading for heading, _ in names.values())],
        rows,
        "How many training points carry an attribution. Per run: the mean (Gini, share) or median (points) over test "
        "points. "
        + ("arXiv 2305.14585 reports that attributions are not sparse (second-hand). " if paper else "")
        + OVER_SEEDS,
        keys=keys_of(members),
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
        "Share of the attribution that the strongest training points carry, by their number",
    )


def _first_split(arrays: dict[str, np.ndarray], suffix: str) -> str:
    splits = [name.removesuffix(suffix) for name in arrays if name.endswith(suffix)]
    return "test" if "test" in splits else splits[0]


def _gallery(name: str, member: Gathered, config: RunConfig) -> list[Block]:
    artifact = member.artifact
    names = _class_names(member)
    if (arrays := read_gallery_images(artifact)) is not None:
        return [_images(name, names, arrays)]
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
    return [Table(columns, rows, caption, keys=[artifact.key], command=member.command), *_tokens(name, member)]


def _tokens(name: str, member: Gathered) -> list[Block]:
    """Color the tokens of test texts and of their strongest training texts, and list the strongest pairs."""
    texts: dict[tuple[int, int, str], list[dict[str, Any]]] = {}
    for row in read_tokens(member.artifact):
        texts.setdefault((row["test"], row["rank"], row["side"]), []).append(row)
    if not texts:
        return []
    marked = []
    for (test, rank, side), rows in texts.items():
        title = f"Test text {test + 1}, beside training text {rank}:" if side == "test" else f"Training text {rank}:"
        marked.append(MarkedText(title, [row["token"] for row in rows], [row["value"] for row in rows]))
    about = (
        f"{name}, first run: the product of the log-odds gradients of a test text (its attributed class) and of a "
        "training text (its label), split over tokens."
    )
    pairs = [
        [row["test"] + 1, row["rank"], row["test token"], row["training token"], row["value"]]
        for row in read_token_pairs(member.artifact)
    ]
    columns = ["test text", "training text", "test token", "training token", "product"]
    caption = f"{about} The strongest pairs: which training token speaks for which test token."
    return [
        MarkedTexts(marked, f"{about} A token's color is its sum over the tokens of the other text."),
        Table(columns, pairs, caption, keys=[member.artifact.key], command=member.command),
    ]


def _images(name: str, names: list[str], arrays: dict[str, np.ndarray]) -> Gallery:
    """Show test images, of as many classes as there are, with their most supporting training images."""
    planted = arrays["train_injected"].astype(bool)
    rows = []
    for i in range(len(arrays["labels"])):
        true, attributed = names[arrays["labels"][i]], names[arrays["classes"][i]]
        shots = [Shot(_pixels(arrays["test"][i]), f"test: {true}", f"for {attributed}")]
        for j, score in enumerate(arrays["scores"][i]):
            label = int(arrays["train_labels"][i, j])
            title = names[label] + (" ●" if planted[i, j] else "")
            agrees = label == int(arrays["classes"][i])
            shots.append(Shot(_pixels(arrays["train"][i, j]), title, f"{score:+.3g}", agrees))
        rows.append(shots)
    legend = "Frames: solid where the training label is that class, dashed where it is another."
    return Gallery(
        rows,
        f"{name}, first run: test images, errors of the network first. Below each stand its label and the class (“for "
        "…”) for which the training images beside it speak most, strongest first.",
        legend + (" ● marks injected images." if planted.any() else ""),
    )


def _pixels(image: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.moveaxis(image, 0, -1))


def _class_names(member: Gathered) -> list[str]:
    given, kept = list(member.config.data.class_names or []), member.config.data.subset.classes
    names = [given[c] if c < len(given) else str(c) for c in kept] if kept else given
    return names + [str(c) for c in range(len(names), 1000)]


def _mask_blocks(name: str, group: list[Gathered], findings: list[Finding]) -> list[Block]:
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
        keys=keys_of(found),
        command=found[0].command,
    )
    first = next(iter(values))[0]
    best = {m: np.mean([run["auprc"] for run in runs]) for (mask, m), runs in values.items() if mask == first}
    order = sorted(best, key=lambda method: -best[method])
    ranking = ", ".join(f"{method} {best[method]:.3f}" for method in order)
    findings.append(Finding(f"{name}: AUPRC for {first} (n = {len(found)}): {ranking}.", keys_of(found)))
    arrays = read_mask_arrays(found[0].artifact)
    scores = {method: arrays[f"score.{method}"] for method in order}
    picture = Picture(
        precision_recall_curves(scores, arrays["injected"].astype(bool), title=first[0].upper() + first[1:]),
        f"{name}: precision against recall of the first run.",
        "Precision and recall of each attribution method",
    )
    return [table, picture]
