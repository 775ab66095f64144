"""Report section of the layer probes: accuracy by components and depth, collapse, claims of arXiv:2309.15328."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from analysis.pages.blocks import Finding, Headline, Picture, Section, Table, Text
from analysis.pages.cells import OVER_SEEDS, summary_cells
from analysis.probes.figures import (
    NAMES,
    collapse_figure,
    component_curves_figure,
    depth_figure,
    explained_variance_figure,
    onset_history_figure,
)
from analysis.probes.layer import ALL_COMPONENTS
from analysis.probes.onset import NO_ONSET, Onset, components_needed
from pipeline.config.run import RunConfig
from pipeline.engine.build import Gathered
from pipeline.reporting.groups import about, grouped, keys_of, seeds_of
from pipeline.reporting.spoken import listed
from pipeline.stages.probes.claims import claims, curve_of, nearest
from pipeline.stages.probes.read import (
    SUFFICIENT,
    CollapseRow,
    ProbeRow,
    read_collapse,
    read_controls,
    read_curves,
    read_history,
    read_onsets,
    read_points,
)

PAPER = "2309.15328"
DEPTH = 2
"""Place of accuracy by depth among the pictures of a group."""


def section(members: list[Gathered], config: RunConfig) -> Section:
    """Tabulate the surrogates by layer, draw the published figures and decide the claims, group by group."""
    blocks: list[Any] = []
    findings: list[Finding] = []
    depth: Picture | None = None
    for name, group in grouped(members).items():
        runs = [read_points(member.artifact) for member in group]
        collapse = [read_collapse(member.artifact) for member in group]
        metrics = [member.artifact.metrics for member in group]
        layers = metrics[0]["layers"]
        kappa = float(group[0].config.probes.neighbors[0])
        accuracy = float(np.mean([entry["network_accuracy"] for entry in metrics]))
        trained = group[0].config.weights.source in ("train", "path")
        blocks.append(
            Text(
                f"{name} (n = {len(group)}): network accuracy {100 * accuracy:.2f} % on the probed rows."
                + ("" if trained else " A control: the question is about trained networks."),
                keys_of(group),
            )
        )
        blocks.append(_table(name, runs, collapse, layers, kappa, group))
        pictures = _pictures(name, runs, collapse, group, layers, kappa, accuracy)
        blocks += pictures
        depth = depth or (pictures[DEPTH] if trained and len(layers) > 1 else None)
        blocks += _controls(name, layers, group) + _history(name, layers, group)
        if trained:
            curves = [read_curves(member.artifact) for member in group]
            blocks += about(group, claims(name, group[0].config, curves, collapse, metrics), PAPER)
        if not trained:
            onsets = sorted({str(entry["onset"]) for entry in metrics})
            said = f"{name}, untrained (n = {len(group)}): all simple classifiers agree from {', '.join(onsets)} on."
            if onsets == ["no onset"]:
                said = f"{name}, untrained (n = {len(group)}): there is no layer from which on all classifiers agree."
            findings.append(Finding(said, keys_of(group)))
    return Section("Layer probes", [*findings, *blocks], _onset(grouped(members), depth))


def _onset(groups: dict[str, list[Gathered]], depth: Picture | None) -> list[Headline]:
    """Answer from which layer on all probes agree: a depth, counted in layers from the first."""
    places = {
        name: [member.artifact.metrics["onset_index"] for member in group if _trained(member)]
        for name, group in groups.items()
    }
    places = {name: found for name, found in places.items() if found}
    if not places:
        return []
    said = {}
    for name, found in places.items():
        layers = groups[name][0].artifact.metrics["layers"]  # of networks of another depth there are others
        known = [layers[int(i)] for i in found if i is not None]
        counts = ", ".join(
            f"from {layer} on in {known.count(layer)}" for layer in dict.fromkeys(sorted(known, key=layers.index))
        )
        none = len(found) - len(known)
        said[name] = ", ".join(filter(None, [counts, f"from no layer on in {none}" if none else ""]))
    rows = [[name, len(found), sum(i is not None for i in found), said[name]] for name, found in places.items()]
    trained = [member for group in groups.values() for member in group if _trained(member)]
    runs = len(next(iter(places.values())))
    table = Table(
        ["group", "runs", "with an onset", "layer from which all probes agree, by runs"],
        rows,
        "Onset: the first layer from which on k-NN, nearest center and linear SVM agree on the test rows.",
        keys=keys_of(trained),
        command=trained[0].command,
    )
    of = f"{runs} run{'s' if runs != 1 else ''}"
    shown = listed(said) if len(said) > 1 else next(iter(said.values()))
    answer = f"All simple classifiers agree {shown} of {of}."
    if len(said) == 1 and shown == f"from no layer on in {runs}":
        answer = f"In {runs} of {of} there is no layer from which on all simple classifiers agree."
    return [Headline("onset", "From which layer on do all simple classifiers agree?", answer, table.first(), depth)]


def _trained(member: Gathered) -> bool:
    return member.config.weights.source in ("train", "path")


def _table(
    name: str,
    runs: list[list[ProbeRow]],
    collapse: list[list[CollapseRow]],
    layers: list[str],
    kappa: float,
    group: list[Gathered],
) -> Table:
    rows: list[list[Any]] = []
    for i, layer in enumerate(layers):
        width = collapse[0][i]["width"]
        for probe in ("knn", "ncc", "svm"):
            points = [curve_of(run, layer, probe, kappa) for run in runs]
            if not all(points):
                rows.append([layer, width, NAMES[probe], len(runs), "degenerate", "–", "–", "–", "–", "–"])
                continue
            everything = [100 * curve[ALL_COMPONENTS]["accuracy"] for curve in points]
            fidelity = float(np.mean([100 * curve[ALL_COMPONENTS]["fidelity"] for curve in points]))
            sufficient = float(np.mean([100 * nearest(curve, SUFFICIENT)["accuracy"] for curve in points]))
            needed = [_needed(curve) for curve in points]
            shown = "–" if None in needed else f"{np.median([k for k in needed if k is not None]):.0f}"
            n, mean, sd, interval = summary_cells(everything, within=(0, 100))
            rows.append([layer, width, NAMES[probe], n, mean, sd, interval, fidelity, sufficient, shown])
    return Table(
        ["layer", "D", "probe", "runs", "accuracy % (all)", "sd", "95 % interval", "fidelity %", "k ≈ 100", "k*"],
        rows,
        f"{name}: simple classifiers on the layer's D features, scored on test rows. Fidelity is their agreement with "
        "the network. k* is the smallest number of principal components from which on accuracy stays within one "
        "point of that of all components (median over runs; – where even the largest falls short). " + OVER_SEEDS,
        keys=keys_of(group),
        command=group[0].command,
    )


def _pictures(
    name: str,
    runs: list[list[ProbeRow]],
    collapse: list[list[CollapseRow]],
    group: list[Gathered],
    layers: list[str],
    kappa: float,
    accuracy: float,
) -> list[Picture]:
    pooled = [row for run in runs for row in run]
    curves = read_curves(group[0].artifact)
    metrics = group[0].artifact.metrics
    place = {layer: i for i, layer in enumerate(layers)}
    onset = Onset(
        index=NO_ONSET if metrics["onset_index"] is None else int(metrics["onset_index"]),
        layer=metrics["onset"],
        spread=curves.spread,
        probability=curves.onset_probability,
        low=place.get(metrics["onset_low"], NO_ONSET),
        high=place.get(metrics["onset_high"], NO_ONSET),
    )
    by_layer = np.array([[row["nc1"] for row in run] for run in collapse], dtype=float)
    known = np.isfinite(by_layer).any(axis=0)
    nc1 = np.where(known, np.nansum(by_layer, axis=0) / np.maximum(np.isfinite(by_layer).sum(axis=0), 1), np.nan)
    variance = {layer: curves.explained_variance[layer] for layer in layers}
    points = [{**row, "epoch": i} for i, run in enumerate(collapse) for row in run]
    hollow = (
        "" if all(row["converged"] for row in pooled) else " Hollow markers: the solver stopped before its tolerance."
    )
    marked = ""
    if onset.index != NO_ONSET:
        marked = " Vertical line and band: layer from which on all agree in the first run, and its bootstrap interval "
        marked += "over test rows."
    by_components = [
        Picture(
            explained_variance_figure(variance),
            f"{name}: explained variance of the first run.",
            f"Explained variance of {len(layers)} layers against the number of components kept",
        ),
        Picture(
            component_curves_figure(pooled, layers, network_accuracy=accuracy, neighbors=kappa),
            f"{name}: accuracy of each simple classifier by components and by explained variance, mean over runs; the "
            f"dashed line is the network.{hollow}",
            f"Accuracy of simple classifiers by components kept; the network gets {100 * accuracy:.1f} % right",
        ),
    ]
    if len(layers) < 2:  # one layer has no depth
        return by_components
    return [
        *by_components,
        Picture(
            depth_figure(
                pooled,
                layers,
                onset=onset,
                nc1=nc1,
                network_accuracy=accuracy,
                components=SUFFICIENT,
                neighbors=kappa,
            ),
            f"{name}: accuracy and fidelity (agreement with the network) by depth, mean and sd over runs.{marked}",
            f"Accuracy and fidelity of simple classifiers from {layers[0]} to {layers[-1]}; onset {metrics['onset']}",
        ),
        Picture(
            collapse_figure(points, layers, seeds=seeds_of(group)),
            f"{name}: collapse by depth, one line per run.",
            f"Collapse measures NC1, NC2 and NC4 from {layers[0]} to {layers[-1]}, a line for each run",
        ),
    ]


def _controls(name: str, layers: list[str], group: list[Gathered]) -> list[Table]:
    runs = [found for member in group if (found := read_controls(member.artifact))]
    if not runs:
        return []
    scores: tuple[Literal["knn", "ncc", "svm", "network"], ...] = ("knn", "ncc", "svm", "network")
    rows = []
    for control in dict.fromkeys(row["control"] for row in runs[0]):
        for layer in layers:
            here = [row for run in runs for row in run if (row["control"], row["layer"]) == (control, layer)]
            means = [float(np.mean([100 * row[score] for row in here])) for score in scores]
            rows.append([control, layer, len(here), *means])
    return [
        Table(
            ["control", "layer", "runs", "k-NN %", "nearest center %", "SVM %", "network %"],
            rows,
            f"{name}: controls, all components, mean over runs. Probes of permuted training labels must score the "
            "share of the largest class; noisy test rows carry Gaussian noise of "
            f"{group[0].config.features.noise:g} on the normalized inputs.",
            keys=keys_of(group),
            command=group[0].command,
        )
    ]


def _history(name: str, layers: list[str], group: list[Gathered]) -> list[Table | Picture]:
    found = [member for member in group if read_history(member.artifact)]
    if not found:
        return []
    onsets = [read_onsets(member.artifact) for member in found]
    points = [row for member in found for row in read_history(member.artifact)]
    measures: tuple[Literal["nc1", "nc2_angles", "nc3", "nc4"], ...] = ("nc1", "nc2_angles", "nc3", "nc4")
    rows = []
    for i, moment in enumerate(onsets[0]):
        here = [run[i] for run in onsets]
        last = [row for row in points if row["step"] == moment["step"] and row["layer"] == layers[-1]]
        shares = [float(np.mean([row[measure] for row in last])) for measure in measures]
        places = ", ".join(str(entry["onset"]) for entry in here)
        network = 100 * float(np.mean([entry["network"] for entry in here]))
        rows.append([f"{moment['epoch']:g}", len(here), network, *shares, places])
    return [
        Table(
            ["epoch", "runs", "network %", "NC1", "NC2 (angles)", "NC3", "NC4", "onset by run"],
            rows,
            f"{name}: collapse of {layers[-1]} and onset by epoch, means over runs.",
            keys=keys_of(found),
            command=found[0].command,
        ),
        Picture(
            collapse_figure(points, layers),
            f"{name}: collapse by depth, one line per epoch, mean over runs.",
            "Collapse measures NC1, NC2 and NC4 by depth, a line for each epoch",
        ),
        Picture(
            onset_history_figure(onsets, layers, seeds_of(found)),
            f"{name}: layer of onset by epoch, one line per run with its bootstrap interval over test rows.",
            "Layer of onset against epoch, a line for each run",
        ),
    ]


def _needed(curve: dict[int, ProbeRow]) -> int | None:
    ks = np.array(sorted(k for k in curve if k != ALL_COMPONENTS))
    accuracy = np.array([curve[int(k)]["accuracy"] for k in ks])
    return components_needed(ks, accuracy, curve[ALL_COMPONENTS]["accuracy"])
