"""Stage ``attribution``: which training points support a decision, and whether planted ones rank first."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch
from torch import Tensor

from analysis.attribution.decomposition import TopScores, cumulative_share, sparsity, top_scores
from analysis.attribution.masks import flag_quality, flag_tests, rank_mask
from pipeline.data.datamodule import DataModule, KernelInputs, open_data
from pipeline.data.poison import TRIGGERED
from pipeline.engine.artifacts import finite_or_none
from pipeline.engine.build import Build
from pipeline.machine.arithmetic import arithmetic
from pipeline.stages.attribution.foreseen import refuse_neighbors
from pipeline.stages.attribution.gallery import gallery_points
from pipeline.stages.attribution.methods import SELF_METHODS, open_attributor
from pipeline.stages.attribution.read import (
    GALLERY_IMAGES,
    GALLERY_TEXTS,
    MASK_ARRAYS,
    MASKS,
    SPARSITY,
    TOKEN_PAIRS,
    TOKENS,
    TOP,
    MaskRow,
)
from pipeline.stages.attribution.tokens import token_rows
from pipeline.stages.kernel.read import KernelSide, read_kernel_sides
from pipeline.training.networks import trained_network

FLAG_TOP = 10
"""Attributed training points that vote on whether a test point carries a trigger."""
CURVE_POINTS = 200
TOKEN_TEXTS = 3
"""Strongest training texts of a test text that are split over tokens."""


@dataclasses.dataclass(frozen=True)
class Scored:
    """Scores of one method on one test split."""

    method: str
    split: str
    classes: np.ndarray
    scores: np.ndarray


def attribution(build: Build) -> dict[str, Any]:
    """Attribute every test point's class, store the strongest points, and evaluate the methods on planted masks.

    Writes ``top.safetensors`` (``SPLIT.support`` and ``SPLIT.oppose`` positions among the kernel's training points,
    with scores, attributed classes and ids), ``sparsity.safetensors`` (per test point: Gini, points for 50, 80 and
    95 %, mean, quartiles; sparsity curves), ``gallery.safetensors`` or ``gallery.parquet`` (images or texts), and,
    where the training rows carry a planted mask, ``masks.parquet`` and ``masks.safetensors``.
    """
    config = build.config
    choice = config.attribution
    train, tests = read_kernel_sides(build)
    data = open_data(config, build.inputs["data"])
    points = data.kernel_inputs("train", config.kernel.n_train)
    sides = {split: data.kernel_inputs(split, config.kernel.n_test) for split in tests}
    methods = list(dict.fromkeys([choice.method, *choice.methods]))
    refuse_neighbors(config)
    with arithmetic(config.numerics) as device:
        attributor = open_attributor(build, data, train, methods, device)
        injected = data.injected("train")[_places(data.ids("train"), points.ids)].numpy()
        planted = 0 < injected.sum() < len(injected)
        found: list[Scored] = []
        for method in methods if planted and TRIGGERED in tests else methods[:1]:
            build.say(f"method {method}")
            for split, side in tests.items():
                classes = side.labels if choice.target == "true" else side.network.argmax(1)
                found.append(Scored(method, split, classes, attributor.scores(method, side, sides[split], classes)))
        rows: list[MaskRow] = []
        arrays = {"injected": injected.astype(np.uint8)}
        if planted and TRIGGERED in tests:
            rows, suspicion = _triggered_rows(found, tests, injected, train.labels)
            arrays |= {f"score.{method}": values for method, values in suspicion.items()}
        elif planted and config.data.poison.kind == "label_flip":
            for method in [name for name in methods if name in SELF_METHODS]:
                values = attributor.self_scores(method)
                arrays[f"score.{method}"] = values
                rows.append(_mask_row(method, "mislabelled training points", values, injected))
        for line in attributor.curvature.said if attributor.curvature is not None else ():
            build.say(line)
    main = [one for one in found if one.method == choice.method]
    metrics = _describe(build, main, tests)
    _gallery(build, data, main[0], sides[main[0].split], points, train, next(iter(tests.values())))
    if rows:
        build.write_rows(MASKS, rows)
        build.write_arrays(MASK_ARRAYS, arrays)
    return metrics | {"methods": methods, "injected": int(injected.sum()), "masks": [row["mask"] for row in rows][:1]}


def _places(ids: Tensor, wanted: Tensor) -> Tensor:
    order = ids.argsort()
    return order[torch.searchsorted(ids[order], wanted)]


def _triggered_rows(
    found: list[Scored], tests: dict[str, KernelSide], injected: np.ndarray, train_labels: np.ndarray
) -> tuple[list[MaskRow], dict[str, np.ndarray]]:
    """Rank training points by their mean attribution over triggered tests, and flag tests by their top points."""
    rows: list[MaskRow] = []
    suspicion: dict[str, np.ndarray] = {}
    target = int(tests[TRIGGERED].labels[0])
    within = train_labels == target
    for one in found:
        if one.split != TRIGGERED:
            continue
        values = one.scores.mean(0)
        suspicion[one.method] = values
        rows.append(_mask_row(one.method, "injected training points", values, injected))
        if 0 < injected[within].sum() < within.sum():
            rows.append(_mask_row(one.method, "injected within the target class", values[within], injected[within]))
    k = min(FLAG_TOP, len(injected))
    for method in dict.fromkeys(one.method for one in found):
        flags, truth = [], []
        for one in found:
            if one.method == method:
                flags.append(flag_tests(top_scores(one.scores, k).indices, injected))
                truth.append(np.full(len(one.classes), one.split == TRIGGERED))
        quality = flag_quality(np.concatenate(flags), np.concatenate(truth))
        rows.append(
            {
                "method": method,
                "mask": f"triggered test points (majority of top {k})",
                "precision": finite_or_none(quality.precision),
                "recall": quality.recall,
                "auprc": None,
                "roc_auc": None,
                "prevalence": quality.n_true / quality.n,
                "n": quality.n,
                "marked": quality.n_true,
            }
        )
    return rows, suspicion


def _mask_row(method: str, mask: str, scores: np.ndarray, marked: np.ndarray) -> MaskRow:
    found = rank_mask(scores, marked)
    k = found.n_marked
    return {
        "method": method,
        "mask": mask,
        "precision": finite_or_none(found.precision[k]),
        "recall": found.recall[k],
        "auprc": found.auprc,
        "roc_auc": found.roc_auc,
        "prevalence": found.prevalence,
        "n": found.n,
        "marked": k,
    }


def _describe(build: Build, main: list[Scored], tests: dict[str, KernelSide]) -> dict[str, Any]:
    """Write the strongest points and the sparsity of the main method; return its summary of the first split."""
    choice = build.config.attribution
    strongest: dict[str, np.ndarray] = {}
    sparse: dict[str, np.ndarray] = {}
    metrics: dict[str, Any] = {}
    for one in main:
        k = min(choice.top, one.scores.shape[1])
        for name, direction in (("support", "support"), ("oppose", "oppose")):
            top = top_scores(one.scores, k, direction=direction)  # type: ignore[arg-type]
            strongest |= {f"{one.split}.{name}": top.indices, f"{one.split}.{name}_scores": top.scores}
        strongest |= {f"{one.split}.classes": one.classes, f"{one.split}.ids": tests[one.split].ids}
        found = sparsity(one.scores)
        sparse |= {f"{one.split}.gini": found.gini, f"{one.split}.mean": found.mean}
        sparse |= {f"{one.split}.points_{round(100 * share)}": counts for share, counts in found.points.items()}
        sparse[f"{one.split}.quartiles"] = found.quartiles
        curve = cumulative_share(one.scores)
        places = np.unique(np.geomspace(1, curve.shape[1], CURVE_POINTS).round().astype(np.int64))
        sparse[f"{one.split}.curve_points"] = places
        sparse[f"{one.split}.curve"] = np.quantile(curve[:, places - 1], [0.25, 0.5, 0.75], axis=0)
        if not metrics:
            metrics = {
                "gini": float(found.gini.mean()),
                "points_50": float(np.median(found.points[0.5])),
                "points_95": float(np.median(found.points[0.95])),
                "mean_inside_quartiles": float(found.mean_inside_quartiles.mean()),
                "n_train": one.scores.shape[1],
                "n_test": len(one.scores),
            }
    build.write_arrays(TOP, strongest)
    build.write_arrays(SPARSITY, sparse)
    return metrics


def _gallery(
    build: Build,
    data: DataModule,
    one: Scored,
    points: KernelInputs,
    train_points: KernelInputs,
    train: KernelSide,
    side: KernelSide,
) -> None:
    """Store the images or texts of a few test points and of their strongest training points."""
    choice = build.config.attribution
    shown = gallery_points(side.labels, side.network.argmax(1) == side.labels, choice.gallery)
    top = top_scores(one.scores[shown], min(choice.top, one.scores.shape[1]))
    common = {
        "classes": one.classes[shown],
        "labels": side.labels[shown],
        "scores": top.scores,
        "train_labels": train.labels[top.indices],
    }
    injected = data.injected("train")[_places(data.ids("train"), train_points.ids)].numpy()
    common["train_injected"] = injected[top.indices].astype(np.uint8)
    test_rows = _inputs(data, one.split, points.ids[torch.from_numpy(shown)])
    train_rows = _inputs(data, "train", train_points.ids[torch.from_numpy(top.indices.ravel())])
    if isinstance(test_rows, list):
        build.write_table(GALLERY_TEXTS, _text_columns(test_rows, train_rows, top, common))
        if choice.tokens:
            few = min(choice.tokens, len(shown))
            network = trained_network(build.config, data, build.inputs["weights"])
            chosen = top.indices[:few, :TOKEN_TEXTS]
            tokens, pairs = token_rows(
                network, data, points, shown[:few], one.classes[shown[:few]], train_points, chosen
            )
            build.write_rows(TOKENS, tokens)
            build.write_rows(TOKEN_PAIRS, pairs)
    elif test_rows.ndim == 4:
        images = {"test": test_rows, "train": train_rows.reshape(*top.indices.shape, *test_rows.shape[1:])}
        build.write_arrays(GALLERY_IMAGES, common | images)


def _inputs(data: DataModule, split: str, ids: Tensor) -> Any:
    """Look up stored rows by id: uint8 images (n, c, h, w), or texts."""
    rows = _places(data.ids(split), ids)
    stored = data.split(split).inputs
    return [stored[row] for row in rows.tolist()] if isinstance(stored, list) else stored[rows].numpy()


def _text_columns(
    tests: list[str], trains: list[str], top: TopScores, common: dict[str, np.ndarray]
) -> dict[str, list[Any]]:
    m, k = top.indices.shape
    return {
        "test": [text for text in tests for _ in range(k)],
        "label": np.repeat(common["labels"], k).tolist(),
        "attributed": np.repeat(common["classes"], k).tolist(),
        "rank": list(range(1, k + 1)) * m,
        "score": top.scores.ravel().tolist(),
        "training text": trains,
        "training label": common["train_labels"].ravel().tolist(),
        "injected": common["train_injected"].astype(bool).ravel().tolist(),
    }
