"""Estimates and groups in the words of a sentence: what headlines say."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from analysis.pages.blocks import FIRST_ROWS
from analysis.verdicts import format_estimate, run_interval_within, student_mean_interval
from pipeline.reporting.groups import ALL

Range = tuple[float, float]
SHARE: Range = (0.0, 100.0)
"""Range of a percentage."""


def mean_within(values: Sequence[float], within: Range | None) -> tuple[float, float, float]:
    """Give the mean of runs and the ends of its 95 % interval, which stays within the range of the number."""
    if within is None or math.isinf(within[0]) or math.isinf(within[1]):
        mean, _, low, high = student_mean_interval(values)
        return (mean, low, high) if within is None else (mean, max(low, within[0]), min(high, within[1]))
    mean, _, low, high = run_interval_within(values, *within)
    return mean, low, high


def over_runs(values: Sequence[float], within: tuple[float, float] | None = None, unit: str = "") -> str:
    """Write the mean of runs with its 95 % interval, which stays within the range of the number.

    Parameters
    ----------
    values : sequence of float
        One per run; undefined ones are left out.
    within : tuple of two float or None
        Range of the number.
    unit : str
        Stands behind the mean, such as ``%``.

    Examples
    --------
    >>> over_runs([6.1, 6.9, 6.8], (0, 100), "%"), over_runs([0.5])
    ('6.6 % [5.6, 7.8]', '0.5')
    """
    known = [value for value in values if math.isfinite(value)]
    if not known:
        return "undefined"
    return with_unit(*mean_within(known, within), unit)


def with_unit(value: float, low: float, high: float, unit: str = "") -> str:
    """Write an estimate with its interval and its unit; without an interval, the estimate to three digits.

    Examples
    --------
    >>> with_unit(6.64, 6.1, 7.2, "%"), with_unit(6.64, float("nan"), float("nan"), "%")
    ('6.64 % [6.10, 7.20]', '6.64 %')
    """
    if not has_interval((value, low, high)):
        return f"{value:.3g}{f' {unit}' if unit else ''}"
    shown, _, interval = format_estimate(value, low, high).partition(" ")
    return f"{shown}{f' {unit}' if unit else ''} {interval}"


def has_interval(estimate: tuple[float, float, float]) -> bool:
    """Whether an estimate (value, low, high) has an interval: one run has none, and equal runs have none."""
    _, low, high = estimate
    return math.isfinite(low) and math.isfinite(high) and high > low


def count(values: Sequence[object], noun: str = "seeds") -> str:
    """Write how many units an interval is over.

    Examples
    --------
    >>> count([1, 2, 3]), count([1])
    ('95 % interval over n = 3 seeds', 'n = 1 seed, so no interval')
    """
    n = len(values)
    if n < 2:
        return f"n = {n} {noun.removesuffix('s')}, so no interval"
    return f"95 % interval over n = {n} {noun}"


def listed(parts: Mapping[str, str]) -> str:
    """Join what is said of each group of cells; of many groups, the first ones.

    Examples
    --------
    >>> listed({"mlp": "6.6 %", "resnet18": "13.9 %"}), listed({"all runs": "6.6 %"})
    ('6.6 % (mlp), 13.9 % (resnet18)', '6.6 %')
    """
    if list(parts) == [ALL]:
        return parts[ALL]
    shown = [f"{said} ({name})" for name, said in list(parts.items())[:FIRST_ROWS]]
    more = len(parts) - len(shown)
    return ", ".join(shown) + (f", and {more} more below" if more > 0 else "")
