"""Claims about surrogates: published bands of a named measure, orders of kernels, and kernels that are equivalent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypedDict

from analysis.verdicts import OPEN, Claim, Decided, Standing, above, equivalent, within_band
from pipeline.engine.build import Gathered
from pipeline.errors import UserError
from pipeline.reporting.groups import keys_of
from pipeline.shown_text import label_words
from pipeline.stages.surrogate.measures import MEASURES, NAMED_TAUS, named, spoken, values_over_runs

TAU_MARGIN = 0.01
"""Difference of τ that counts in an order: the published standard errors of τ are 0.003 to 0.009."""
UNKNOWN = "unknown"
"""Measure of a target whose source is lost: its definition is unknown, so that nothing is compared with it."""
FIELDS = ("data", "model", "training", "weights", "kernel", "surrogate", "seeds")
"""Settings that move a measure of faithfulness; each must be the published one."""
NETWORK_FIELDS = ("data", "model", "training", "weights", "seeds")


class Target(TypedDict, total=False):
    """One entry of ``report.options.targets``: a published number, the measure that it is about, and a band around it.

    ``cells`` names the groups by a label of theirs, all of them where it is left out. Without ``low`` and ``high`` the
    number is shown and nothing is decided. ``band`` says who derived the band, ``note`` what else the number is about.
    """

    cells: str
    measure: str
    low: float
    high: float
    published: str
    standing: str
    band: str
    note: str


def standing_of(target: Target) -> Standing:
    """Say where a target's number comes from, who derived its band and which measure it is about."""
    measure = str(target.get("measure", ""))
    about = "definition unknown" if measure == UNKNOWN else measure
    return Standing(str(target.get("standing", "ours")), band=str(target.get("band", "")), measure=about)


def target_claims(target: Target, groups: dict[str, list[Gathered]]) -> list[Claim]:
    """Compare the mean over seeds with a published band, for the groups that ``cells`` names.

    Parameters
    ----------
    target : Target
        One entry of ``report.options.targets``.
    groups : dict of str to list of Gathered
        Runs by label.
    """
    measure = str(target["measure"])
    known = (*MEASURES, *NAMED_TAUS, UNKNOWN)
    if not measure.endswith(known):
        raise UserError(f"report.options.targets names the measure {measure!r}; choose one of: {', '.join(known)}.")
    if "low" not in target or "high" not in target or measure == UNKNOWN:
        return []
    low, high, heading = float(target["low"]), float(target["high"]), spoken(measure)
    fields = NETWORK_FIELDS if measure.endswith("network_accuracy") else FIELDS
    return [
        Claim(
            f"{named(measure)} of {name}",
            f"{name}: {heading} is in [{low:g}, {high:g}]",
            within_band(values_over_runs(group, measure), low, high, what=heading),
            fields,
            str(target.get("published", "")),
            standing_of(target),
            keys_of(group),
        )
        for name, group in chosen(target, groups).items()
    ]


def order_claims(options: dict[str, Any], groups: dict[str, list[Gathered]]) -> list[Claim]:
    """Decide each step of an order of kernels, seeds paired.

    ``order`` lists labels from the most to the least faithful, ``order_measure`` names the measure (τ of the true class
    by default), ``order_standing`` says whose order it is; one that no author printed is ours.
    """
    order = [str(label) for label in options.get("order", [])]
    measure = str(options.get("order_measure", "tau"))
    standing = Standing(str(options.get("order_standing", "ours")), measure=measure)
    heading = spoken(measure)
    claims = []
    present = [label for label in order if find_group(groups, label)]
    for upper, lower in zip(present[:-1], present[1:], strict=True):
        difference = paired_differences(find_group(groups, upper), find_group(groups, lower), measure)
        what = f"{heading} of {upper} minus that of {lower}, seeds paired"
        claims.append(
            Claim(
                f"{upper} above {lower}",
                f"{heading} of {upper} is above that of {lower}",
                above(difference, 0.0, margin=TAU_MARGIN, what=what),
                FIELDS,
                " > ".join(order),
                standing,
            )
        )
    return claims


def equivalence_claims(options: dict[str, Any], groups: dict[str, list[Gathered]]) -> list[Claim]:
    """Decide whether kernels have the same τ as a reference, each within a margin, seeds paired.

    ``equivalent`` is ``{reference, labels, margin}``. TF32 on a CPU is float32, so that nothing was measured there.
    """
    choice = options.get("equivalent")
    if not choice:
        return []
    reference, margin = str(choice["reference"]), float(choice["margin"])
    claims = []
    for label in map(str, choice["labels"]):
        groups_of = [find_group(groups, reference), find_group(groups, label)]
        if not all(groups_of):
            continue
        decided = _equivalent(groups_of[1], groups_of[0], margin, f"Kendall τ of {label} minus that of {reference}")
        statement = f"Kendall τ of {label} equals that of {reference} within {margin:g}"
        claims.append(Claim(f"{label} as {reference}", statement, decided, FIELDS, "", Standing("ours", measure="tau")))
    return claims


def _equivalent(group: list[Gathered], reference: list[Gathered], margin: float, what: str) -> Decided:
    config = group[0].config
    if config.kernel.precision == "tf32" and config.numerics.device == "cpu":
        return Decided(OPEN, "on a CPU tf32 is float32: not measured here.")
    return equivalent(paired_differences(group, reference, "tau"), 0.0, margin=margin, what=f"{what}, seeds paired")


def chosen(target: Target, groups: dict[str, list[Gathered]]) -> dict[str, list[Gathered]]:
    """Choose the groups that a target is about."""
    label = str(target.get("cells", ""))
    return {name: group for name, group in groups.items() if not label or _has(name, label)}


def find_group(groups: dict[str, list[Gathered]], label: str) -> list[Gathered]:
    """Find the runs of a label, which is a whole part of a group's name; empty without any."""
    for name, group in groups.items():
        if _has(name, label):
            return group
    return []


def _has(name: str, label: str) -> bool:
    parts = [name, *(part.strip() for part in name.split(","))]
    return label in parts or label_words(label) in parts  # pages name groups in words


def paired_differences(first: Sequence[Gathered], second: Sequence[Gathered], measure: str) -> list[float]:
    """Differences of a measure over the seeds that both have; NaN where either is undefined."""
    a, b = (_by_seed(group, measure) for group in (first, second))
    return [a[seed] - b[seed] for seed in a if seed in b]


def _by_seed(group: Sequence[Gathered], measure: str) -> dict[str, float]:
    values = values_over_runs(list(group), measure)
    return {member.labels.get("seed", "0"): value for member, value in zip(group, values, strict=True)}
