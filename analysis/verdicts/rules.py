"""Rules that decide a claim from its values over independent units: it holds, it fails, or it is open.

An outcome says nothing about the setting of the runs; `analysis.verdicts.words` turns both into a word. Every rule
asks for a margin, the smallest difference that counts, which is stated before the runs are looked at.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from analysis.verdicts.intervals import exact_interval, format_estimate, student_mean_interval

Outcome = Literal["holds", "fails", "open"]
HOLDS: Outcome = "holds"
FAILS: Outcome = "fails"
OPEN: Outcome = "open"

MIN_RUNS = 5
"""Independent units (seeds, draws, subsets) below which every claim is open."""
UNDEFINED_SHARE = 0.1
"""Share of undefined values beyond which a claim is open."""
ALPHA = 0.05
"""Level of every decision, and of the family of a study's decisions."""


@dataclass(frozen=True)
class Decided:
    """What the runs say about a claim.

    Attributes
    ----------
    outcome : {"holds", "fails", "open"}
        Of this claim alone.
    evidence : str
        Estimate, interval, n, unit of resampling, bound and margin in one sentence.
    p, p_against : float or None
        One-sided p-values: of "the claim is false" (small where it holds) and of "the claim is true" (small where it
        fails); None where nothing was tested.
    p_adjusted : float or None
        The p-value of the outcome after Holm's adjustment within a study; see `adjusted`.
    values : tuple of float
        Where the evidence states a mean with Student's interval: the values behind it, one per unit.

    Examples
    --------
    >>> from analysis.verdicts import OPEN, Decided
    >>> Decided(OPEN, "no layer explains so little.").p is None
    True
    """

    outcome: Outcome
    evidence: str
    p: float | None = None
    p_against: float | None = None
    p_adjusted: float | None = None
    values: tuple[float, ...] = field(default=(), repr=False)


def check_margin(margin: float) -> None:
    """Raise ValueError unless a margin is a number above 0."""
    if not (math.isfinite(margin) and margin > 0):
        raise ValueError(f"margin = {margin:.4g}: state the smallest difference that counts, a number above 0.")


def _readable(values: Sequence[float | None], what: str, unit: str) -> tuple[np.ndarray, str, Decided | None]:
    """Give the defined values, a note on the undefined ones, and the open outcome where they do not suffice."""
    array = np.array([math.nan if value is None else value for value in values], dtype=np.float64)
    defined = array[np.isfinite(array)]
    lost = array.size - defined.size
    note = f", {lost} of {array.size} undefined" if lost else ""
    if defined.size < MIN_RUNS:
        shown = f"mean {defined.mean():.3g}" if defined.size else "not measured"
        return (
            defined,
            note,
            Decided(OPEN, f"{what}: {shown}, n = {defined.size} {unit}{note}; {MIN_RUNS} are needed."),
        )
    if lost > UNDEFINED_SHARE * array.size:
        return (
            defined,
            note,
            Decided(
                OPEN,
                f"{what}: undefined for {lost} of {array.size} {unit}; more than {UNDEFINED_SHARE:.0%} decide nothing.",
            ),
        )
    if defined.std() <= 1e-12 * max(np.abs(defined).max(), 1e-300):
        return (
            defined,
            note,
            Decided(
                OPEN, f"{what}: {defined.mean():.6g} in all {defined.size} {unit}{note}; equal values give no interval."
            ),
        )
    return defined, note, None


def _tail(values: np.ndarray, bound: float) -> float:
    """One-sided p-value of 'the mean is at most `bound`' by Student's t."""
    from scipy import special

    error = values.std(ddof=1) / math.sqrt(values.size)
    return float(special.stdtr(values.size - 1, (bound - values.mean()) / error))


def above(
    values: Sequence[float | None], bound: float, *, margin: float, what: str, unit: str = "seeds", level: float = 0.95
) -> Decided:
    """Claim: the mean over independent units is above `bound` by more than `margin`.

    It holds where the Student-t interval lies above bound + margin, and fails where it lies below bound - margin.

    Parameters
    ----------
    values : sequence of float or None
        One per independent unit; NaN or None where it is undefined.
    bound, margin : float
        In the unit of the values; the margin is above 0.
    what : str
        Name and unit of the number.
    unit : str
        What varies from value to value.
    level : float
        Of the two-sided interval.

    Examples
    --------
    >>> from analysis.verdicts import above
    >>> above([0.91, 0.93, 0.92, 0.94, 0.92], 0.9, margin=0.005, what="accuracy").outcome
    'holds'
    >>> above([0.0, 0.0, 0.0, 0.0, 0.0], 0.0, margin=0.01, what="difference").outcome
    'open'
    """
    check_margin(margin)
    defined, note, early = _readable(values, what, unit)
    if early is not None:
        return early
    mean, _, low, high = student_mean_interval(defined.tolist(), level)
    outcome = HOLDS if low > bound + margin else FAILS if high < bound - margin else OPEN
    evidence = (
        f"{what}: {format_estimate(mean, low, high)}, {100 * level:g} % Student-t interval over n = {defined.size} "
        f"{unit}{note}; claimed above {bound:.4g} by more than {margin:.4g}."
    )
    p, against = _tail(defined, bound + margin), 1 - _tail(defined, bound - margin)
    return Decided(outcome, evidence, p, against, values=tuple(defined.tolist()))


def below(
    values: Sequence[float | None], bound: float, *, margin: float, what: str, unit: str = "seeds", level: float = 0.95
) -> Decided:
    """Claim: the mean over independent units is below `bound` by more than `margin`; see `above`.

    Examples
    --------
    >>> from analysis.verdicts import below
    >>> below([0.5, 0.6, 0.4, 0.5, 0.6], 1.0, margin=0.1, what="ratio").outcome
    'holds'
    """
    check_margin(margin)
    defined, note, early = _readable(values, what, unit)
    if early is not None:
        return early
    mean, _, low, high = student_mean_interval(defined.tolist(), level)
    outcome = HOLDS if high < bound - margin else FAILS if low > bound + margin else OPEN
    evidence = (
        f"{what}: {format_estimate(mean, low, high)}, {100 * level:g} % Student-t interval over n = {defined.size} "
        f"{unit}{note}; claimed below {bound:.4g} by more than {margin:.4g}."
    )
    p, against = 1 - _tail(defined, bound - margin), _tail(defined, bound + margin)
    return Decided(outcome, evidence, p, against, values=tuple(defined.tolist()))


def within_band(values: Sequence[float | None], low: float, high: float, *, what: str, unit: str = "seeds") -> Decided:
    """Claim: the mean over independent units lies between `low` and `high`, by two one-sided t tests.

    It holds where the 90 % interval lies inside the band, and fails where the 95 % interval lies wholly outside.

    Examples
    --------
    >>> from analysis.verdicts import within_band
    >>> within_band([0.70, 0.72, 0.69, 0.71, 0.70], 0.64, 0.78, what="tau").outcome
    'holds'
    """
    if not low < high:
        raise ValueError(f"The band [{low:.4g}, {high:.4g}] is empty: its lower end must be below its upper end.")
    defined, note, early = _readable(values, what, unit)
    if early is not None:
        return early
    mean, _, wide_low, wide_high = student_mean_interval(defined.tolist(), 0.95)
    _, _, inner_low, inner_high = student_mean_interval(defined.tolist(), 0.90)
    p = max(_tail(defined, low), 1 - _tail(defined, high))
    against = 2 * min(1 - _tail(defined, low), _tail(defined, high))
    outcome = HOLDS if inner_low > low and inner_high < high else FAILS if wide_high < low or wide_low > high else OPEN
    evidence = (
        f"{what}: {format_estimate(mean, wide_low, wide_high)}, 95 % Student-t interval over n = {defined.size} "
        f"{unit}{note}; claimed within [{low:.4g}, {high:.4g}]."
    )
    return Decided(outcome, evidence, p, min(1.0, against), values=tuple(defined.tolist()))


def equivalent(
    values: Sequence[float | None], target: float, *, margin: float, what: str, unit: str = "seeds"
) -> Decided:
    """Claim: the mean over independent units equals `target` within `margin`, by two one-sided t tests.

    Equal values prove nothing where a difference is claimed, but they are what an equivalence claims: where no unit
    differs from another and all lie within the margin, it holds (without a p-value).

    Examples
    --------
    >>> from analysis.verdicts import equivalent
    >>> equivalent([0.001, -0.002, 0.0, 0.001, -0.001], 0.0, margin=0.01, what="difference").outcome
    'holds'
    """
    check_margin(margin)
    found = within_band(values, target - margin, target + margin, what=what, unit=unit)
    defined, note, early = _readable(values, what, unit)
    complete = early is not None and defined.size >= MIN_RUNS and "undefined for" not in early.evidence
    if complete and np.abs(defined - target).max() < margin:
        evidence = f"{what}: {defined.mean():.6g} in all n = {defined.size} {unit}{note}"
        return Decided(HOLDS, f"{evidence}; claimed within {margin:.4g} of {target:.4g}.")
    evidence = found.evidence.partition("; claimed")[0].rstrip(".")
    evidence = f"{evidence}; claimed within {margin:.4g} of {target:.4g}."
    return replace(found, evidence=evidence)


def identity(differences: Sequence[float | None], tolerance: float, *, what: str, unit: str = "networks") -> Decided:
    """Claim: two ways to compute one number agree within rounding, in every unit.

    No sampling is involved, so that it needs no minimum n and says nothing about other units.

    Examples
    --------
    >>> from analysis.verdicts import identity
    >>> identity([0.0, 1e-13, 0.0, 2e-14, 0.0], 1e-10, what="largest difference").outcome
    'holds'
    """
    array = np.array([math.nan if value is None else value for value in differences], dtype=np.float64)
    if not array.size:
        return Decided(OPEN, f"{what}: none was compared.")
    lost = int(np.isnan(array).sum())
    if lost == array.size:
        return Decided(OPEN, f"{what}: undefined in all {lost} {unit}.")
    over = int((np.abs(array) > tolerance).sum())
    evidence = (
        f"{what}: {np.nanmax(np.abs(array)):.2g} at most over n = {array.size} {unit}; above {tolerance:g} in {over}"
    )
    outcome = FAILS if over else OPEN if lost else HOLDS
    return Decided(outcome, f"{evidence}, undefined in {lost}." if lost else f"{evidence}.")


def share_above(holds: Sequence[bool | None], bound: float, *, what: str, unit: str = "seeds") -> Decided:
    """Claim: it holds in more than the share `bound` of all units, by the exact one-sided binomial test at 5 %.

    Examples
    --------
    >>> from analysis.verdicts import share_above
    >>> share_above([True] * 8, 0.5, what="collapse before the last layer").outcome
    'holds'
    >>> share_above([True] * 3, 0.5, what="collapse before the last layer").outcome
    'open'
    """
    return _share(holds, bound, "greater", what, unit)


def share_below(holds: Sequence[bool | None], bound: float, *, what: str, unit: str = "draws") -> Decided:
    """Claim: it holds in less than the share `bound` of all units, such as false rejections; see `share_above`.

    Examples
    --------
    >>> from analysis.verdicts import share_below
    >>> share_below([False] * 97 + [True] * 3, 0.1, what="false rejections").outcome
    'holds'
    """
    return _share(holds, bound, "less", what, unit)


def _share(
    holds: Sequence[bool | None], bound: float, side: Literal["greater", "less"], what: str, unit: str
) -> Decided:
    from scipy import special

    if not 0 < bound < 1:
        raise ValueError(f"bound = {bound:.4g} is no share: it lies between 0 and 1.")
    known = [bool(one) for one in holds if one is not None and one == one]  # NaN is undefined, too
    n, hits, lost = len(known), sum(known), len(holds) - len(known)
    note = f", {lost} of {len(holds)} undefined" if lost else ""
    if n < MIN_RUNS or lost > UNDEFINED_SHARE * len(holds):
        needed = f"{MIN_RUNS} are needed" if n < MIN_RUNS else f"more than {UNDEFINED_SHARE:.0%} decide nothing"
        return Decided(OPEN, f"{what}: in {hits} of {n} {unit}{note}; {needed}.")
    many = float(special.bdtrc(hits - 1, n, bound)) if hits else 1.0  # Pr(at least as many hits)
    few = float(special.bdtr(hits, n, bound))
    p, against = (many, few) if side == "greater" else (few, many)
    # one-sided bounds at 95 % are the ends of the two-sided interval at 90 %
    low, high = exact_interval(hits, n, 0.90)
    outcome = HOLDS if p <= ALPHA else FAILS if against <= ALPHA else OPEN
    evidence = (
        f"{what}: in {hits} of {n} {unit}{note}, share {format_estimate(hits / n, low, high)} (exact 95 % bounds); "
        f"claimed {'above' if side == 'greater' else 'below'} {bound:.4g}."
    )
    return Decided(outcome, evidence, p, against)
