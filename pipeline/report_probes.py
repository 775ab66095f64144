"""Report section of the layer probes: accuracy by components and depth, collapse, claims of arXiv:2309.15328."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import stats

from analysis.collapse_onset import NO_ONSET, Onset, components_needed
from analysis.figures_probes import (
    collapse_figure,
    component_curves_figure,
    depth_figure,
    explained_variance_figure,
)
from analysis.layer_probes import ALL_COMPONENTS
from pipeline.build import Gathered
from pipeline.claim_tests import at_least, at_most, share_of_runs
from pipeline.report_blocks import Picture, Section, Table, Text, Verdict, summary_cells
from pipeline.report_train import grouped
from pipeline.schema import RunConfig

Rows = list[dict[str, Any]]
SETTLED = 100
"""Components that settle k-NN and nearest class-centre, as published."""


def section(members: list[Gathered], config: RunConfig) -> Section:
    """Tabulate the surrogates by layer, draw the published figures and decide the claims, group by group."""
    blocks: list[Any] = []
    findings: list[str] = []
    for name, group in grouped(members).items():
        runs = [member.artifact.table("probes.parquet").to_pylist() for member in group]
        collapse = [member.artifact.table("collapse.parquet").to_pylist() for member in group]
        metrics = [member.artifact.metrics for member in group]
        layers = metrics[0]["layers"]
        kappa = float(group[0].config.probes.neighbors[0])
        accuracy = float(np.mean([entry["network_accuracy"] for entry in metrics]))
        trained = group[0].config.weights.source == "train"
        blocks.append(
            Text(
                f"{name}: {len(group)} run(s), network accuracy {100 * accuracy:.2f} % on the probed rows."
                + ("" if trained else " A control: the claims are about trained networks.")
            )
        )
        blocks.append(_table(name, runs, collapse, layers, kappa, group))
        blocks += _pictures(name, runs, collapse, group, layers, kappa, accuracy)
        if trained:
            blocks += _verdicts(name, runs, collapse, metrics, layers, kappa)
        onsets = sorted({str(entry["onset"]) for entry in metrics})
        findings.append(f"{name}: onset of collapse at {', '.join(onsets)} over {len(group)} run(s).")
    return Section("Layer probes", blocks, findings)


def _table(
    name: str, runs: list[Rows], collapse: list[Rows], layers: list[str], kappa: float, group: list[Gathered]
) -> Table:
    rows = []
    for i, layer in enumerate(layers):
        width = collapse[0][i]["width"]
        for probe in ("knn", "ncc", "svm"):
            points = [_curve(run, layer, probe, kappa) for run in runs]
            if not all(points):
                rows.append([layer, width, probe, len(runs), "degenerate", "–", "–", "–", "–", "–"])
                continue
            everything = [100 * curve[ALL_COMPONENTS]["accuracy"] for curve in points]
            fidelity = float(np.mean([100 * curve[ALL_COMPONENTS]["fidelity"] for curve in points]))
            settled = float(np.mean([100 * _near(curve, SETTLED)["accuracy"] for curve in points]))
            needed = [_needed(curve) for curve in points]
            shown = "–" if None in needed else f"{np.median([k for k in needed if k is not None]):.0f}"
            n, mean, sd, interval = summary_cells(everything)
            rows.append([layer, width, probe, n, mean, sd, interval, fidelity, settled, shown])
    return Table(
        ["layer", "D", "probe", "runs", "accuracy % (all)", "sd", "95 % interval", "fidelity %", "k ≈ 100", "k*"],
        rows,
        f"{name}: surrogates on test rows. k* is the smallest number of components from which accuracy stays within "
        "one point of that of all components (median over runs; – where even the largest falls short).",
        keys=[member.artifact.key for member in group],
        command=group[0].command,
    )


def _pictures(
    name: str,
    runs: list[Rows],
    collapse: list[Rows],
    group: list[Gathered],
    layers: list[str],
    kappa: float,
    accuracy: float,
) -> list[Picture]:
    pooled = [row for run in runs for row in run]
    curves = group[0].artifact.arrays("curves.safetensors")
    metrics = group[0].artifact.metrics
    place = {layer: i for i, layer in enumerate(layers)}
    onset = Onset(
        index=NO_ONSET if metrics["onset_index"] is None else int(metrics["onset_index"]),
        layer=metrics["onset"],
        spread=curves["spread"],
        probability=curves["onset_probability"],
        low=place.get(metrics["onset_low"], NO_ONSET),
        high=place.get(metrics["onset_high"], NO_ONSET),
    )
    by_layer = np.array([[row["nc1"] for row in run] for run in collapse], dtype=float)
    known = np.isfinite(by_layer).any(axis=0)
    nc1 = np.where(known, np.nansum(by_layer, axis=0) / np.maximum(np.isfinite(by_layer).sum(axis=0), 1), np.nan)
    variance = {layer: curves[f"explained_variance.{layer}"] for layer in layers}
    points = [{**row, "epoch": f"run {i}"} for i, run in enumerate(collapse) for row in run]
    return [
        Picture(
            explained_variance_figure(variance),
            f"{name}: explained variance of the first run.",
            "Explained variance by number of components and layer",
        ),
        Picture(
            component_curves_figure(pooled, layers, network_accuracy=accuracy, neighbours=kappa),
            f"{name}: accuracy of each surrogate by components and by explained variance, mean over runs; the dashed "
            "line is the network. Hollow markers: the solver stopped before its tolerance.",
            "Probe accuracy by number of components",
        ),
        Picture(
            depth_figure(
                pooled,
                layers,
                onset=onset,
                nc1=nc1,
                network_accuracy=accuracy,
                components=SETTLED,
                neighbours=kappa,
            ),
            f"{name}: accuracy and fidelity by depth, mean and sd over runs. Vertical line and band: onset of the "
            "first run and its bootstrap interval over test rows.",
            "Probe accuracy and fidelity by depth with the onset of collapse",
        ),
        Picture(
            collapse_figure(points, layers),
            f"{name}: collapse by depth, one line per run.",
            "Neural collapse measures by depth",
        ),
    ]


def _verdicts(
    name: str,
    runs: list[Rows],
    collapse: list[Rows],
    metrics: Sequence[dict[str, Any]],
    layers: list[str],
    kappa: float,
) -> list[Verdict]:
    best, gap, lead, fall = [], [], [], []
    for run, nc, entry in zip(runs, collapse, metrics, strict=True):
        curves = {(layer, p): _curve(run, layer, p, kappa) for layer in layers for p in ("knn", "ncc", "svm")}
        curves = {place: curve for place, curve in curves.items() if curve}
        cheap = [row["accuracy"] for curve in curves.values() for row in curve.values() if row["evr"] <= 0.2]
        best.append(max(cheap, default=0.0) / max(entry["network_accuracy"], 1e-12))
        gaps = [
            abs(_near(curve, SETTLED)["accuracy"] - curve[ALL_COMPONENTS]["accuracy"])
            for (_, probe), curve in curves.items()
            if probe != "svm"
        ]
        gap.append(100 * max(gaps))
        final = {place: curve[ALL_COMPONENTS]["accuracy"] for place, curve in curves.items()}
        present = [layer for layer in layers if (layer, "svm") in final]
        lead.append(100 * min(final[layer, "svm"] - max(final[layer, "knn"], final[layer, "ncc"]) for layer in present))
        falls = [float(row["nc1"]) for row in nc if np.isfinite(row["nc1"])]
        fall.append(float(stats.spearmanr(np.arange(len(falls)), falls).statistic) if len(falls) > 2 else np.nan)
    early = [entry["onset_index"] is not None and entry["onset_index"] < len(layers) - 1 for entry in metrics]
    rows = (
        (
            "L1: some layer, classifier and k explain at most 20 % of the variance and reach 95 % of the network",
            at_least(best, 0.95, "best accuracy at EVR ≤ 0.2 over the network's"),
            "about 20 % of the variance is enough in some layers",
            "published; tolerance derived",
        ),
        (
            "L2: about 100 components settle k-NN and nearest centre in every layer (within one point)",
            at_most(gap, 1.0, "largest |acc(100) - acc(all)| over layers, points"),
            "first ~100 components settle both",
            "published; tolerance derived",
        ),
        (
            "L3: the linear surrogate is the best one in every layer (within half a point)",
            at_least(lead, -0.5, "smallest lead of the SVM over layers, points"),
            "the affine linear surrogate is best",
            "published; read as the SVM",
        ),
        ("L4: collapse sets in before the last layer", share_of_runs(early), "partial evidence", "published"),
        (
            "L5: NC1 falls with depth",
            at_most(fall, -0.9, "Spearman correlation of NC1 with depth"),
            "Spearman ≤ -0.9",
            "derived",
        ),
    )
    return [
        Verdict(f"{name}: {claim}", decided.verdict, decided.evidence, target, standing)
        for claim, decided, target, standing in rows
    ]


def _curve(run: Rows, layer: str, probe: str, kappa: float) -> dict[int, dict[str, Any]]:
    return {
        row["k"]: row
        for row in run
        if row["layer"] == layer and row["classifier"] == probe and (probe != "knn" or row["setting"] == kappa)
    }


def _near(curve: dict[int, dict[str, Any]], components: int) -> dict[str, Any]:
    return curve[min((k for k in curve if k != ALL_COMPONENTS), key=lambda k: abs(k - components))]


def _needed(curve: dict[int, dict[str, Any]]) -> int | None:
    ks = np.array(sorted(k for k in curve if k != ALL_COMPONENTS))
    accuracy = np.array([curve[int(k)]["accuracy"] for k in ks])
    return components_needed(ks, accuracy, curve[ALL_COMPONENTS]["accuracy"])
