"""Verdicts on surrogates: published bands of a measure, and the published order of the kernels."""

from __future__ import annotations

from typing import TypedDict

from analysis.verdicts import MIN_RUNS
from analysis.verdicts.superseded import NOT_REPRODUCED, REPRODUCED, UNDECIDED, at_least, at_most
from analysis.verdicts.superseded import OldDecided as Decided
from pipeline.engine.build import Gathered
from pipeline.reporting.blocks import Verdict
from pipeline.stages.surrogate.measures import MEASURES, values_over_runs


class Target(TypedDict, total=False):
    """A published band: cells whose label contains ``cells``, the measure, its bounds and where they come from."""

    cells: str
    measure: str
    low: float
    high: float
    published: str
    standing: str


def target_verdicts(target: Target, groups: dict[str, list[Gathered]]) -> list[Verdict]:
    """Compare the mean over seeds with a published band, for the groups whose label contains ``cells``.

    Parameters
    ----------
    target : Target
        One entry of ``report.options.targets``.
    groups : dict of str to list of Gathered
        Runs by label.
    """
    measure = str(target["measure"])
    heading, scale = MEASURES.get(measure.split("triggered_")[-1], (measure, 1.0))
    verdicts = []
    for name, group in groups.items():
        if str(target.get("cells", "")) not in name:
            continue
        values = values_over_runs(group, measure, scale)
        decided = mean_in_band(values, float(target["low"]), float(target["high"]), heading)
        verdicts.append(
            Verdict(
                f"{name}: {heading} is in [{target['low']:g}, {target['high']:g}]",
                decided.verdict,
                decided.evidence,
                str(target.get("published", "")),
                str(target.get("standing", "")),
            )
        )
    return verdicts


def mean_in_band(values: list[float], low: float, high: float, what: str) -> Decided:
    """Decide whether a mean over seeds is in a band, by its 95 % interval on either side."""
    if len(values) < MIN_RUNS:
        return Decided(UNDECIDED, f"{what}: n = {len(values)} runs, {MIN_RUNS} are needed.")
    above, below = at_least(values, low, what), at_most(values, high, what)
    verdicts = {above.verdict, below.verdict}
    if NOT_REPRODUCED in verdicts:
        return Decided(NOT_REPRODUCED, above.evidence)
    return Decided(REPRODUCED if verdicts == {REPRODUCED} else UNDECIDED, above.evidence)


def order_verdicts(order: list[str], groups: dict[str, list[Gathered]]) -> list[Verdict]:
    """Decide each step of a published order of kernels by τ, seeds paired."""
    by_label = {label: next((group for name, group in groups.items() if _holds(label, name)), None) for label in order}
    verdicts = []
    present = [label for label in order if by_label[label] is not None]
    for upper, lower in zip(present[:-1], present[1:], strict=True):
        a, b = (_by_seed(by_label[label] or []) for label in (upper, lower))
        difference = [a[seed] - b[seed] for seed in a if seed in b]
        claim = f"τ of {upper} is above that of {lower}"
        if len(difference) < MIN_RUNS:
            verdicts.append(Verdict(claim, UNDECIDED, f"n = {len(difference)} paired runs, {MIN_RUNS} are needed."))
            continue
        decided = at_least(difference, 0.0, f"τ of {upper} minus that of {lower}, seeds paired")
        verdicts.append(Verdict(claim, decided.verdict, decided.evidence, " > ".join(order), "authors' code"))
    return verdicts


def _holds(label: str, name: str) -> bool:
    return label in [part.strip() for part in name.split(",")]


def _by_seed(group: list[Gathered]) -> dict[str, float]:
    return {
        member.labels.get("seed", "0"): float(member.artifact.metrics["tau"])
        for member in group
        if member.artifact.metrics["tau"] is not None
    }
