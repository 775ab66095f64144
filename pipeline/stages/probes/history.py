"""Collapse and its onset at every snapshot, and the controls of the probe study."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from torch import Tensor

from analysis.probes.labeled_features import LabeledFeatures
from analysis.probes.onset import bootstrap_onset
from analysis.probes.raw import probe_raw_features
from pipeline.config.probes import ProbesConfig
from pipeline.data.datamodule import open_data
from pipeline.engine.build import Build
from pipeline.machine.arithmetic import arithmetic
from pipeline.stages.features.layers import split_features
from pipeline.stages.features.read import NOISY
from pipeline.stages.probes.layers import (
    collapse_row,
    layer_split,
    onset_columns,
    output_weights,
    quick_settings,
    right_answers,
)
from pipeline.stages.probes.read import Accuracies, ControlRow, HistoryRow, OnsetRow
from pipeline.stages.train.read import load_snapshot, read_recorded_steps, read_snapshot_weights
from pipeline.training.networks import build_network, output_layer


def collapse_history(build: Build, layers: list[str], classes: int) -> tuple[list[HistoryRow], list[OnsetRow]]:
    """Measure every layer at every snapshot of the run.

    Parameters
    ----------
    build : Build
        With upstream ``snapshots`` (weights recorded) and ``data``.
    layers : list of str
        As the features of the last epoch name them.
    classes : int

    Returns
    -------
    by_layer : list of HistoryRow
        One for each snapshot and layer: step, epoch, NC1-NC4, accuracy of each surrogate on all components.
    by_step : list of OnsetRow
        One for each snapshot: step, epoch, accuracy of the network, onset with its bootstrap interval.
    """
    config, upstream = build.config, build.inputs["snapshots"]
    data = open_data(config, build.inputs["data"])
    splits = config.features.splits[:2]
    points = {split: data.kernel_inputs(split, config.features.limit) for split in splits}
    network = build_network(config, data)
    by_layer: list[HistoryRow] = []
    by_step: list[OnsetRow] = []
    for moment in read_recorded_steps(upstream):
        step, epoch = moment["step"], moment["epoch"]
        arrays: dict[str, Tensor] = {}
        with arithmetic(config.numerics) as device:
            load_snapshot(network, upstream, step).to(device)
            for split, rows in points.items():
                found = split_features(
                    network, rows, config.features.layers, config.features.pool, output_layer(config)
                )
                arrays |= {f"{split}.{layer}": values for layer, values in found.items()}
                arrays[f"{split}.labels"] = rows.labels
        head = output_weights(read_snapshot_weights(upstream, step), classes)
        correct = []
        for layer in layers:
            train, test = (layer_split(arrays, split, layer) for split in splits)
            probes = probe_raw_features(train, test, settings=quick_settings(config.probes))
            correct.append(right_answers(probes, test.labels))
            collapse = collapse_row(train, probes, test, classes, head)
            by_layer.append({"step": step, "epoch": epoch, **collapse, **_accuracies(correct[-1])})
        onset = bootstrap_onset(
            np.array(correct),
            layers,
            generator=np.random.default_rng([config.probes.seed, 2, step]),
            tolerance=config.probes.tolerance,
            draws=config.probes.draws,
        )
        right = arrays[f"{splits[1]}.logits"].argmax(1) == arrays[f"{splits[1]}.labels"]
        network_accuracy = float(right.double().mean())
        found_onset = onset_columns(onset, layers)
        by_step.append({"step": step, "epoch": epoch, "network": network_accuracy, **found_onset})
        build.say(f"epoch {epoch:g}: network {by_step[-1]['network']:.3f}, onset {onset.layer}")
    return by_layer, by_step


def control_rows(
    config: ProbesConfig, arrays: Mapping[str, Tensor], splits: list[str], layers: list[str]
) -> list[ControlRow]:
    """Probe every layer with permuted training labels and, where the features hold them, on noisy test rows.

    Permuted labels must fall to the share of the largest class; the noisy rows show how far each surrogate and the
    network lose accuracy together.

    Returns
    -------
    list of ControlRow
        One for each control and layer: accuracy of each surrogate and of the network on those rows.
    """
    generator = np.random.default_rng([config.seed, 3])
    rows: list[ControlRow] = []
    for layer in layers:
        train, test = (layer_split(arrays, split, layer) for split in splits[:2])
        shuffled = LabeledFeatures(train.features, generator.permutation(train.labels), train.network)
        pairs = [("permuted labels", shuffled, test)]
        noisy = f"{splits[1]}{NOISY}"
        if f"{noisy}.{layer}" in arrays:
            pairs.append(("noisy test rows", train, layer_split(arrays, noisy, layer)))
        for name, fitted, scored in pairs:
            found = probe_raw_features(fitted, scored, settings=quick_settings(config))
            network = float(np.mean(scored.network == scored.labels))
            right = _accuracies(right_answers(found, scored.labels))
            rows.append({"control": name, "layer": layer, "network": network, **right})
    return rows


def _accuracies(right: list[np.ndarray]) -> Accuracies:
    """Share of right answers of each surrogate, in the order of ``SURROGATES``."""
    knn, ncc, svm = (float(np.mean(rows)) for rows in right)
    return {"knn": knn, "ncc": ncc, "svm": svm}
