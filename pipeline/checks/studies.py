"""Refuse impossible settings of the probe, shift and kernel-regression stages before anything runs."""

from __future__ import annotations

import math
from collections.abc import Iterator

from pipeline.checks.training import (
    pretrain_problems,
)
from pipeline.config.run import RunConfig

RIVALS = ("fine_tuned", "head_only", "random_features", "random_weights")
"""What may compete with the probe on P in a shift study."""


def study_problems(config: RunConfig) -> Iterator[str]:
    """One sentence for each setting that cannot work."""
    yield from _probe_problems(config)
    yield from _shift_problems(config)
    yield from _regression_problems(config)
    yield from pretrain_problems(config)


def _probe_problems(config: RunConfig) -> Iterator[str]:
    probes = config.probes
    if not probes.neighbors or min(probes.neighbors) < 1:
        yield f"probes.neighbors={probes.neighbors}; name at least one positive number of neighbours."
    if not probes.costs or min(probes.costs) <= 0:
        yield f"probes.costs={probes.costs}; an SVM needs a positive cost."
    if probes.scaling not in ("none", "global", "whitening"):
        yield f"probes.scaling={probes.scaling} is not one of none, global, whitening."
    for name in ("components", "draws"):
        if getattr(probes, name) < 1:
            yield f"probes.{name}={getattr(probes, name)} is below 1."
    if not 0 <= probes.tolerance < 1:
        yield f"probes.tolerance={probes.tolerance} must lie in [0, 1); 0.01 is one point."
    if probes.history and "weights" not in config.snapshots.record:
        yield "probes.history reads the weights of snapshots; set snapshots.record=[weights]."
    if not (math.isfinite(config.features.noise) and config.features.noise >= 0):
        yield f"features.noise={config.features.noise} is a standard deviation; it must be 0 or more."


def _shift_problems(config: RunConfig) -> Iterator[str]:
    shift = config.shift
    if shift.reference == shift.sample:
        yield f"shift.reference and shift.sample are both {shift.sample!r}; the null draws already compare P with P'."
    # α = 5 % needs p-values that can get there
    if shift.permutations < 19:
        yield f"shift.permutations={shift.permutations} cannot reach a p-value of 0.05; draw at least 19."
    for name in ("redraws", "components", "null_draws", "power_draws", "probe_redraws"):
        if getattr(shift, name) < 1:
            yield f"shift.{name}={getattr(shift, name)} is below 1."
    for name in ("power_sizes", "probe_sizes"):
        if any(size < 4 for size in getattr(shift, name)):
            yield f"shift.{name}={getattr(shift, name)}; each size needs at least 4 rows."
    unknown = sorted(set(shift.rivals) - set(RIVALS))
    if unknown:
        yield f"shift.rivals holds {unknown}; it takes {', '.join(RIVALS)}."
    if set(shift.rivals) - {"random_features"} and config.model.name != "text_classifier":
        yield f"shift.rivals={shift.rivals} train or reset a text classifier; model={config.model.name} is none."
    if not shift.head_lr > 0:
        yield f"shift.head_lr={shift.head_lr} must be positive."


def _regression_problems(config: RunConfig) -> Iterator[str]:
    regression = config.regression
    if regression.task not in ("function", "logistic", "head"):
        yield f"regression.task={regression.task} is not one of function, logistic, head."
    if regression.protocol not in ("corrected", "published"):
        yield f"regression.protocol={regression.protocol} is not one of corrected, published."
    if regression.penalty_unit not in ("absolute", "trace"):
        yield f"regression.penalty_unit={regression.penalty_unit} is not one of absolute, trace."
    if regression.penalty_unit == "trace" and regression.protocol == "published":
        yield "regression.penalty_unit=trace belongs to protocol=corrected; the published fit has no penalty."
    window = regression.window
    if len(window) != 2 or not 1 <= window[0] < window[1]:
        yield f"regression.window={window}; give the first and last eigenvalue index, counted from 1."
    if not (math.isfinite(regression.penalty) and regression.penalty > 0):
        yield f"regression.penalty={regression.penalty} must be positive; protocol=published fits without one."
    if regression.centres is not None and regression.centres < 1:
        yield f"regression.centres={regression.centres} must be at least 1; null solves on the whole Gram."
    if regression.centres is not None and regression.protocol == "published":
        yield "regression.centres belongs to protocol=corrected; the published fit has no penalty and no centres."
    if not 0 < regression.floor < 0.5:
        yield f"regression.floor={regression.floor} must lie in (0, 0.5)."


_CLAIMS = {"A1", "A2", "B1", "B2", "B3", "B4"}


def statistics_problems(config: RunConfig) -> Iterator[str]:
    """Yield what is impossible: seed statistics."""
    statistics = config.statistics
    if not 0 < statistics.eps < 1:
        yield f"statistics.eps={statistics.eps} must lie in (0, 1); it is the false-alarm rate, for example 0.01."
    for delta in statistics.deltas:
        if not 0 < delta < 1:
            yield f"statistics.deltas holds {delta}; a tolerance lies in (0, 1), and at 1 nothing can be rejected."
    if statistics.draws < 2:
        yield f"statistics.draws={statistics.draws}; a bootstrap needs at least 2 (20 for an interval)."
    unknown = set(statistics.claims) - _CLAIMS
    if unknown:
        yield f"statistics.claims holds {sorted(unknown)}; it takes {sorted(_CLAIMS)}."
    if statistics.history and ("logits" not in config.snapshots.record or config.snapshots.schedule == "log"):
        yield "statistics.history needs snapshots.record=[logits] and snapshots.schedule=epochs (or steps)."
    if "B4" in statistics.claims and len(statistics.arms) != 2:
        yield "statistics.claims holds B4; name two groups of cells in statistics.arms, from scratch first."
