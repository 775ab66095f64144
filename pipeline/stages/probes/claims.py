"""Decide the claims of arXiv:2309.15328 over the runs of one group of cells.

Each is tested in every layer on its own, paired over the test rows, with runs and rows both resampled; the layers are
then adjusted for one another. An extreme over layers is never compared with a bound.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import stats

from analysis.probes.layer import ALL_COMPONENTS, ProbeRow
from analysis.verdicts import (
    OPEN,
    Claim,
    Decided,
    Standing,
    all_hold,
    any_holds,
    crossed_above,
    crossed_below,
    crossed_within,
    share_above,
    within_band,
)
from pipeline.config.run import RunConfig
from pipeline.stages.probes.layers import SURROGATES
from pipeline.stages.probes.read import LOW_VARIANCE, SUFFICIENT, CollapseRow, Curves

PUBLISHED_WIDTH = 64
"""Width of the network that the published accuracy belongs to."""
ENOUGH = 0.95
"""Share of the network's accuracy that counts as reached."""
POINT, HALF_POINT = 0.01, 0.005
"""Differences in accuracy: "settled within one point", and the smallest lead or deficit that counts."""
FALL = -0.9
"""Rank correlation with depth from which a measure counts as falling."""
FIELDS = ("data", "model", "training", "weights", "features", "probes", "seeds")
"""What must be as published: network, training, rows and probes."""


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


def claims(
    name: str,
    config: RunConfig,
    curves: Sequence[Curves],
    collapse: Sequence[list[CollapseRow]],
    metrics: Sequence[dict[str, Any]],
) -> list[Claim]:
    """Decide each target L0 to L5.

    Parameters
    ----------
    name : str
        Label of the group.
    config : RunConfig
        Of one of its runs.
    curves, collapse : sequence of Curves and of list of CollapseRow
        Which rows each surrogate gets right, and the collapse table, one for each run.
    metrics : sequence of dict
        Of the runs' artifacts.
    """
    layers = metrics[0]["layers"]
    # a constant layer has no probes; it is left out of every claim in all runs, by name
    kept = [i for i in range(len(layers)) if not any(run[i]["degenerate"] for run in collapse)]
    names = [layers[i] for i in kept]
    early = [entry["onset_index"] is not None and entry["onset_index"] < len(layers) - 1 for entry in metrics]
    derived = Standing("published", band="ours")
    rows = (
        (
            "L0",
            "the base network reaches 93.0 ± 0.5 % on CIFAR-10",
            _base(config, [entry["network_accuracy"] for entry in metrics]),
            "93.07 % (9292 of 9984)",
            Standing("second-hand", band="ours"),
        ),
        (
            "L1",
            f"some layer and classifier reach {ENOUGH:.0%} of the network's accuracy from components that explain at "
            f"most {LOW_VARIANCE:.0%} of the variance",
            _low_variance(curves, kept, names),
            "about 20 % of the variance is enough in some layers",
            derived,
        ),
        (
            "L2",
            f"about {SUFFICIENT} components suffice for k-NN and nearest center in every layer (within one point)",
            _sufficient(curves, kept, names),
            "the first ~100 components suffice for both",
            derived,
        ),
        (
            "L3",
            "the linear surrogate (SVM) is at most half a point behind the others in every layer",
            _lead(curves, kept, names, bound=-HALF_POINT, margin=0.0),
            "the affine linear surrogate is best",
            derived,
        ),
        (
            "L3, early layers",
            "in the first half of the layers the linear surrogate is ahead by more than half a point",
            _lead(curves, kept[: max(1, len(kept) // 2)], names, bound=0.0, margin=HALF_POINT),
            "the affine linear surrogate is best",
            Standing("derived", band="ours"),
        ),
        (
            "L4",
            "collapse sets in before the last layer in most runs",
            share_above(early, 0.5, what="runs with an onset before the last layer"),
            "partial evidence",
            Standing("published"),
        ),
        (
            "L5",
            f"NC1 falls with depth (Spearman correlation of at most {FALL:g}) in most runs",
            share_above([_falls(run, kept) for run in collapse], 0.5, what="runs in which NC1 falls with depth"),
            f"Spearman ≤ {FALL:g}",
            Standing("derived", band="ours"),
        ),
        (
            "L5, nearest center",
            "disagreement of nearest center and network (NC4) rises by less than one point from each layer to the next",
            _rises(curves, kept, names),
            "non-increasing within one point",
            Standing("derived", band="ours"),
        ),
    )
    return [
        Claim(ident, f"{name}: {statement}", decided, FIELDS, target, standing)
        for ident, statement, decided, target, standing in rows
    ]


def _stack(curves: Sequence[Curves], field: str, layer: int, surrogate: str) -> np.ndarray:
    """Right answers of one surrogate on one layer as runs x test rows, -1, 0 or 1 where differences are taken."""
    place = SURROGATES.index(surrogate)
    return np.stack([getattr(run, field)[layer, place].astype(np.int8) for run in curves])


def _low_variance(curves: Sequence[Curves], kept: Sequence[int], names: Sequence[str]) -> Decided:
    network = np.stack([run.network for run in curves])
    members = {}
    for layer, label in zip(kept, names, strict=True):
        if all(run.counts[layer, 1] > 0 for run in curves):
            for surrogate in SURROGATES:
                gap = _stack(curves, "at_low_variance", layer, surrogate) - ENOUGH * network
                members[f"{surrogate} on {label}"] = crossed_above(
                    gap, 0.0, what=f"accuracy minus {ENOUGH:g} of the network's"
                )
    if not members:
        return Decided(OPEN, f"no number of components explains at most {LOW_VARIANCE:.0%} of the variance.")
    return any_holds(members, "pairs of layer and classifier")


def _sufficient(curves: Sequence[Curves], kept: Sequence[int], names: Sequence[str]) -> Decided:
    members = {}
    for layer, label in zip(kept, names, strict=True):
        for surrogate in ("knn", "ncc"):
            gap = _stack(curves, "at_sufficient", layer, surrogate) - _stack(curves, "correct", layer, surrogate)
            members[f"{surrogate} on {label}"] = crossed_within(
                gap, -POINT, POINT, what=f"accuracy from about {SUFFICIENT} components minus that from all"
            )
    return all_hold(members, "pairs of layer and classifier")


def _lead(
    curves: Sequence[Curves], kept: Sequence[int], names: Sequence[str], *, bound: float, margin: float
) -> Decided:
    members = {}
    for layer, label in zip(kept, names, strict=False):
        for rival in ("knn", "ncc"):
            gap = _stack(curves, "correct", layer, "svm") - _stack(curves, "correct", layer, rival)
            members[f"SVM against {rival} on {label}"] = crossed_above(
                gap, bound, margin=margin, what="accuracy of the SVM minus that of the rival"
            )
    return all_hold(members, "pairs of layer and rival")


def _rises(curves: Sequence[Curves], kept: Sequence[int], names: Sequence[str]) -> Decided:
    differs = [np.stack([run.center_differs[layer].astype(np.int8) for run in curves]) for layer in kept]
    members = {
        f"{first} to {second}": crossed_below(after - before, POINT, what="rise of NC4")
        for first, second, before, after in zip(names, names[1:], differs, differs[1:], strict=False)
    }
    return all_hold(members, "steps from layer to layer")


def _falls(run: Sequence[CollapseRow], kept: Sequence[int]) -> bool | None:
    """Whether NC1 falls with depth; None where it is known in fewer than three layers."""
    nc1 = [run[i]["nc1"] for i in kept if np.isfinite(run[i]["nc1"])]
    if len(nc1) < 3 or len(set(nc1)) < 2:
        return None
    return bool(stats.spearmanr(np.arange(len(nc1)), nc1).statistic <= FALL + 1e-12)


def _base(config: RunConfig, accuracy: list[float]) -> Decided:
    points = [100 * value for value in accuracy]
    width = getattr(config.model, "width", None)
    if config.data.name != "cifar10" or width != PUBLISHED_WIDTH:
        return Decided(
            OPEN,
            f"{np.mean(points):.1f} % on {config.data.name} at width {width}, mean of {len(points)} runs: another "
            "network or other data.",
        )
    return within_band(points, 92.5, 93.5, what="test accuracy, %")
