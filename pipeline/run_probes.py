"""Stage ``probes``: surrogate classifiers on principal components of every layer, neural collapse and its onset."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from analysis.collapse_onset import NO_ONSET, Onset, bootstrap_onset
from analysis.component_curves import class_means
from analysis.layer_probes import LayerProbes, ProbeSettings, Split, probe_layer
from analysis.neural_collapse import centre_mismatch, neural_collapse, self_duality_gap
from analysis.streaming_pca import FeatureBlocks
from pipeline.artifacts import Artifact
from pipeline.build import Build
from pipeline.errors import UserError
from pipeline.networks import WEIGHTS
from pipeline.schema_analysis import ProbesConfig

SURROGATES = ("knn", "ncc", "svm")
"""Whose agreement marks the onset of collapse."""


def probes(build: Build) -> dict[str, Any]:
    """Probe every layer of ``features`` at every number of components.

    Writes ``probes.parquet`` (one row for each layer, classifier, setting and number of components; k = 0 is the
    centred raw feature), ``collapse.parquet`` (NC1-NC4 by layer), ``curves.safetensors`` (explained variance by
    layer; whether each surrogate is right, layer x surrogate x test row; onset probabilities).

    Raises
    ------
    UserError
        If the features hold fewer than two splits or come from a regression task.
    """
    config = build.config.probes
    upstream = build.inputs["features"]
    splits, layers = build.config.features.splits, upstream.metrics["layers"]
    if len(splits) < 2:
        raise UserError(f"probes fit on one split and score on another; features.splits={splits} names one.")
    classes = int(upstream.metrics["classes"])
    if classes < 2:
        raise UserError("probes classify; these features come from a regression task.")
    arrays = upstream.tensors("features.safetensors")
    head = _head(build.inputs["weights"], classes)
    rows, collapse, curves, correct = [], [], {}, []
    for layer in layers:
        train, test = (_split(arrays, split, layer) for split in (splits[0], splits[1]))
        found = probe_layer(train, test, settings=_settings(config))
        rows += [_payload(row) for row in found.rows]
        curves[f"explained_variance.{layer}"] = found.pca.explained_variance.numpy()
        collapse.append(_collapse(train, found, test, classes, head))
        truth = test.labels
        correct.append([found.predictions[name] == truth if not found.degenerate else truth < 0 for name in SURROGATES])
        build.say(_line(layer, found, truth))
    right = np.array(correct)
    onset = bootstrap_onset(
        right,
        layers,
        generator=np.random.default_rng([config.seed, 1]),
        tolerance=config.tolerance,
        draws=config.draws,
    )
    curves |= {"correct": right.astype(np.uint8), "onset_probability": onset.probability, "spread": onset.spread}
    build.write_table("probes.parquet", _columns(rows))
    build.write_table("collapse.parquet", _columns(collapse))
    build.write_arrays("curves.safetensors", curves)
    network = arrays[f"{splits[1]}.logits"].argmax(1).numpy()
    return {
        "layers": layers,
        "n_train": len(arrays[f"{splits[0]}.ids"]),
        "n_test": len(network),
        "network_accuracy": float(np.mean(network == arrays[f"{splits[1]}.labels"].numpy())),
        **_onset_metrics(onset, layers, collapse),
    }


def _settings(config: ProbesConfig) -> ProbeSettings:
    return ProbeSettings(
        rank=config.components,
        neighbours=tuple(config.neighbors),
        costs=tuple(config.costs),
        scaling=config.scaling,  # type: ignore[arg-type]
        tolerance=config.solver_tolerance,
        seed=config.seed,
    )


def _split(arrays: dict[str, Tensor], split: str, layer: str) -> Split:
    features = FeatureBlocks.from_array(arrays[f"{split}.{layer}"], layer=layer)
    return Split(features, arrays[f"{split}.labels"].numpy(), arrays[f"{split}.logits"].argmax(1).numpy())


def _head(weights: Artifact, classes: int) -> Tensor | None:
    if not weights.has(WEIGHTS):
        return None
    matrices = [w for w in weights.tensors(WEIGHTS).values() if w.ndim == 2 and w.shape[0] == classes]
    return matrices[-1] if matrices else None


def _collapse(train: Split, found: LayerProbes, test: Split, classes: int, head: Tensor | None) -> dict[str, Any]:
    layer = train.features.layer
    measures = neural_collapse(train.features, train.labels, classes)
    nc3 = math.nan
    if layer == "penultimate" and head is not None and head.shape[1] == train.features.width:
        rows = torch.cat(list(train.features.read()))
        nc3 = self_duality_gap(head, class_means(rows, torch.as_tensor(train.labels)))
    nc4 = math.nan if found.degenerate else centre_mismatch(found.predictions["ncc"], test.network)
    row = {"layer": layer, "width": train.features.width, **dataclasses.asdict(measures), "nc3": nc3, "nc4": nc4}
    return row | {"degenerate": found.degenerate}


def _payload(row: dict[str, object]) -> dict[str, object]:
    """Drop what a second run would not repeat."""
    return {name: value for name, value in row.items() if name != "seconds"}


def _columns(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    return {name: [row[name] for row in rows] for name in rows[0]} if rows else {}


def _onset_metrics(onset: Onset, layers: list[str], collapse: list[dict[str, Any]]) -> dict[str, Any]:
    nc1 = float(collapse[onset.index]["nc1"]) if onset.index != NO_ONSET else math.nan
    name = {NO_ONSET: "no onset"}
    return {
        "onset": onset.layer,
        "onset_index": None if onset.index == NO_ONSET else onset.index,
        "onset_low": name.get(onset.low, layers[onset.low]),
        "onset_high": name.get(onset.high, layers[onset.high]),
        "onset_nc1": None if math.isnan(nc1) else nc1,
    }


def _line(layer: str, found: LayerProbes, truth: np.ndarray) -> str:
    if found.degenerate:
        return f"{layer}: degenerate"
    scores = ", ".join(f"{name} {np.mean(found.predictions[name] == truth):.3f}" for name in SURROGATES)
    return f"{layer}: {scores}"
