"""Stage ``probes``: surrogate classifiers on principal components of every layer, neural collapse and its onset."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from analysis.probes.layer import LayerProbes, probe_layer
from analysis.probes.onset import bootstrap_onset
from pipeline.engine.build import Build
from pipeline.stages.features.read import read_feature_tensors
from pipeline.stages.probes.foreseen import refuse_unfit
from pipeline.stages.probes.history import collapse_history, control_rows
from pipeline.stages.probes.layers import (
    SURROGATES,
    collapse_row,
    few_components,
    layer_split,
    onset_columns,
    output_weights,
    probe_settings,
    right_answers,
)
from pipeline.stages.probes.read import COLLAPSE, CONTROLS, CURVES, HISTORY, ONSETS, POINTS, VARIANCE
from pipeline.stages.train.read import read_final_weights


def probes(build: Build) -> dict[str, Any]:
    """Probe every layer of ``features`` at every number of components.

    Writes ``probes.parquet`` (one row for each layer, classifier, setting and number of components; k = 0 is the
    centered raw feature), ``collapse.parquet`` (NC1-NC4 by layer), ``curves.safetensors`` (explained variance by
    layer; which test rows each surrogate gets right on all, about 100 and few components; onset probabilities); with
    ``probes.history`` on a trained network ``history.parquet`` (collapse by epoch and layer) and ``onsets.parquet``
    (onset by epoch); with ``probes.controls`` ``controls.parquet``.

    Raises
    ------
    UserError
        If the features hold fewer than two splits or come from a regression task.
    """
    config = build.config.probes
    upstream = build.inputs["features"]
    splits, layers = build.config.features.splits, upstream.metrics["layers"]
    classes = int(upstream.metrics["classes"])
    refuse_unfit(splits, classes)
    arrays = read_feature_tensors(upstream)
    weights = read_final_weights(build.inputs["weights"])
    head = None if weights is None else output_weights(weights, classes)
    rows, collapse, curves, correct, few, differs = [], [], {}, [], [], []
    for layer in layers:
        train, test = (layer_split(arrays, split, layer) for split in (splits[0], splits[1]))
        found = probe_layer(train, test, settings=probe_settings(config))
        rows += found.rows
        curves[f"{VARIANCE}{layer}"] = found.pca.explained_variance.numpy()
        predictions = None if found.degenerate else found.predictions
        collapse.append(collapse_row(train, predictions, test, classes, head))
        correct.append(right_answers(predictions, test.labels))
        few.append(few_components(found, test.labels))
        differs.append(test.labels < 0 if predictions is None else predictions["ncc"] != test.network)
        build.say(_line(layer, found, test.labels))
    right = np.array(correct)
    onset = bootstrap_onset(
        right,
        layers,
        generator=np.random.default_rng([config.seed, 1]),
        tolerance=config.tolerance,
        draws=config.draws,
    )
    network = arrays[f"{splits[1]}.logits"].argmax(1).numpy() == arrays[f"{splits[1]}.labels"].numpy()
    curves |= {
        "correct": right.astype(np.uint8),
        "at_sufficient": np.array([layer.at_sufficient for layer in few], dtype=np.uint8),
        "at_low_variance": np.array([layer.at_low_variance for layer in few], dtype=np.uint8),
        "counts": np.array([layer.counts for layer in few], dtype=np.int64),
        "center_differs": np.array(differs, dtype=np.uint8),
        "network": network.astype(np.uint8),
        "onset_probability": onset.probability,
        "spread": onset.spread,
    }
    build.write_rows(POINTS, rows)
    build.write_rows(COLLAPSE, collapse)
    build.write_arrays(CURVES, curves)
    if "snapshots" in build.inputs:
        by_layer, by_step = collapse_history(build, layers, classes)
        build.write_rows(HISTORY, by_layer)
        build.write_rows(ONSETS, by_step)
    if config.controls:
        build.write_rows(CONTROLS, control_rows(config, arrays, splits, layers))
    nc1 = math.nan if onset.index < 0 else float(collapse[onset.index]["nc1"])
    return {
        "layers": layers,
        "n_train": len(arrays[f"{splits[0]}.ids"]),
        "n_test": len(network),
        "network_accuracy": float(np.mean(network)),
        **onset_columns(onset, layers),
        "onset_nc1": None if math.isnan(nc1) else nc1,
    }


def _line(layer: str, found: LayerProbes, truth: np.ndarray) -> str:
    if found.degenerate:
        return f"{layer}: degenerate"
    scores = ", ".join(f"{name} {np.mean(found.predictions[name] == truth):.3f}" for name in SURROGATES)
    return f"{layer}: {scores}"
