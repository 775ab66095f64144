"""Decide the claims of arXiv:2309.15328 over the runs of one group of cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import stats

from analysis.probes.layer import ALL_COMPONENTS
from analysis.verdicts.superseded import NOT_REPRODUCED, UNDECIDED, at_least, at_most, share_of_runs
from analysis.verdicts.superseded import OldDecided as Decided
from pipeline.config.run import RunConfig
from pipeline.reporting.blocks import Verdict
from pipeline.stages.probes.read import CollapseRow, ProbeRow

SUFFICIENT = 100
"""Components that suffice for k-NN and nearest class center, as published."""
PUBLISHED_WIDTH = 64
"""Width of the network that the published accuracy belongs to."""


def curve_of(run: list[ProbeRow], layer: str, probe: str, kappa: float) -> dict[int, ProbeRow]:
    """Select the rows of one layer and classifier by number of components (0: all)."""
    return {
        row["k"]: row
        for row in run
        if row["layer"] == layer and row["classifier"] == probe and (probe != "knn" or row["setting"] == kappa)
    }


def nearest(curve: dict[int, ProbeRow], components: int) -> ProbeRow:
    """Return the row whose number of components is nearest to `components`."""
    return curve[min((k for k in curve if k != ALL_COMPONENTS), key=lambda k: abs(k - components))]


def verdicts(
    name: str,
    config: RunConfig,
    runs: list[list[ProbeRow]],
    collapse: list[list[CollapseRow]],
    metrics: Sequence[dict[str, Any]],
    kappa: float,
) -> list[Verdict]:
    """Give one verdict for each target L0 to L5.

    Parameters
    ----------
    name : str
        Label of the group.
    config : RunConfig
        Of one of its runs.
    runs, collapse : list of list of ProbeRow and of CollapseRow
        Probe and collapse tables, one for each run.
    metrics : sequence of dict
        Of the runs' artifacts.
    kappa : float
        Neighbors of the k-NN probe that is judged.
    """
    layers = metrics[0]["layers"]
    best, gap, lead, ahead, fall, rise = [], [], [], [], [], []
    for run, nc, entry in zip(runs, collapse, metrics, strict=True):
        curves = {(layer, p): curve_of(run, layer, p, kappa) for layer in layers for p in ("knn", "ncc", "svm")}
        curves = {place: curve for place, curve in curves.items() if curve}
        cheap = [row["accuracy"] for curve in curves.values() for row in curve.values() if row["evr"] <= 0.2]
        best.append(max(cheap, default=0.0) / max(entry["network_accuracy"], 1e-12))
        gaps = [
            abs(nearest(curve, SUFFICIENT)["accuracy"] - curve[ALL_COMPONENTS]["accuracy"])
            for (_, probe), curve in curves.items()
            if probe != "svm"
        ]
        gap.append(100 * max(gaps))
        final = {place: curve[ALL_COMPONENTS]["accuracy"] for place, curve in curves.items()}
        present = [layer for layer in layers if (layer, "svm") in final]
        leads = [final[layer, "svm"] - max(final[layer, "knn"], final[layer, "ncc"]) for layer in present]
        lead.append(100 * min(leads))
        ahead.append(100 * min(leads[: max(1, len(leads) // 2)]))
        falls = [float(row["nc1"]) for row in nc if np.isfinite(row["nc1"])]
        fall.append(float(stats.spearmanr(np.arange(len(falls)), falls).statistic) if len(falls) > 2 else np.nan)
        rise.append(100 * float(np.max(np.diff([row["nc4"] for row in nc if np.isfinite(row["nc4"])]), initial=0.0)))
    early = [entry["onset_index"] is not None and entry["onset_index"] < len(layers) - 1 for entry in metrics]
    rows = (
        (
            "L0: the base network reaches 93.0 ± 0.5 % on CIFAR-10",
            _base(config, [entry["network_accuracy"] for entry in metrics]),
            "93.07 % (9292 of 9984)",
            "third-party; any recorded checkpoint will do",
        ),
        (
            "L1: some layer, classifier and k explain at most 20 % of the variance and reach 95 % of the network",
            at_least(best, 0.95, "best accuracy at EVR ≤ 0.2 over the network's"),
            "about 20 % of the variance is enough in some layers",
            "published; tolerance derived",
        ),
        (
            "L2: about 100 components suffice for k-NN and nearest center in every layer (within one point)",
            at_most(gap, 1.0, "largest |acc(100) - acc(all)| over layers, points"),
            "first ~100 components suffice for both",
            "published; tolerance derived",
        ),
        (
            "L3: the linear surrogate is the best one in every layer (within half a point)",
            at_least(lead, -0.5, "smallest lead of the SVM over layers, points"),
            "the affine linear surrogate is best",
            "published; read as the SVM",
        ),
        (
            "L3: in the first half of the layers it is strictly ahead",
            at_least(ahead, 0.0, "smallest lead of the SVM over the first half of the layers, points"),
            "the affine linear surrogate is best",
            "derived",
        ),
        (
            "L4: collapse sets in before the last layer",
            # a one-sided claim: five runs out of five decide it at 95 %
            share_of_runs(early, level=0.9),
            "partial evidence",
            "published",
        ),
        (
            "L5: NC1 falls with depth",
            at_most(fall, -0.9, "Spearman correlation of NC1 with depth"),
            "Spearman ≤ -0.9",
            "derived",
        ),
        (
            "L5: disagreement of nearest center and network does not grow with depth (within one point)",
            at_most(rise, 1.0, "largest rise of NC4 from one layer to the next, points"),
            "non-increasing within one point",
            "derived",
        ),
    )
    return [
        Verdict(f"{name}: {claim}", decided.verdict, decided.evidence, target, standing)
        for claim, decided, target, standing in rows
    ]


def _base(config: RunConfig, accuracy: list[float]) -> Decided:
    points = [100 * value for value in accuracy]
    width = getattr(config.model, "width", None)
    if config.data.name != "cifar10" or width != PUBLISHED_WIDTH:
        return Decided(
            UNDECIDED,
            f"{np.mean(points):.2f} % on {config.data.name} at width {width}, mean of {len(points)}: recorded "
            "checkpoints of another network and data set.",
        )
    above, below = at_least(points, 92.5, "test accuracy, points"), at_most(points, 93.5, "test accuracy, points")
    return next(
        (found for wanted in (NOT_REPRODUCED, UNDECIDED) for found in (above, below) if found.verdict == wanted), below
    )
