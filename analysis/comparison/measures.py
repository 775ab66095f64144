"""Rows of a comparison: a number with its interval over runs, and what is known about each measure."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
from jaxtyping import Float, Int

from analysis.resampling import jackknife_interval
from analysis.variability.contrasts import group_mean
from analysis.verdicts import format_estimate, run_interval_within, student_mean_interval

NO = math.nan
"""What stands where there is no interval, or no number."""


class Row(TypedDict):
    """One number of a comparison."""

    measure: str
    of: str
    value: float
    low: float
    high: float
    sd: float
    runs: int
    note: str


@dataclass(frozen=True)
class Measure:
    """What a measure is called and which values it can take."""

    heading: str
    low: float
    high: float


MEASURES = {
    "accuracy": Measure("accuracy", 0, 1),
    "nll": Measure("negative log-likelihood, nats", 0, math.inf),
    "brier": Measure("Brier score", 0, 2),
    "ece": Measure("expected calibration error", 0, 1),
    "churn": Measure("churn", 0, 1),
    "error_agreement": Measure("agreement of errors, κ", -1, 1),
    "ambiguity": Measure("ambiguity", 0, 1),
    "discrepancy": Measure("discrepancy", 0, 1),
    "level": Measure("trimming level", 0, 1),
    "runs_needed": Measure("runs needed", 2, math.inf),
}
"""Measures of a comparison by their names in its table."""


INTERVALS = (
    "Intervals are 95 % over runs, on the same examples: of means over runs Student's, or Wilson's with the spread of "
    "the runs where the range is bounded; of everything that takes several runs at once a jackknife, which leaves one "
    "run out at a time, of levels in Wilson's form; of the runs needed that of a variance. What is largest or best "
    "among these very runs has none."
)
"""The sentence on intervals of tables and pages."""


def row(measure: str, of: str, value: float, low: float, high: float, sd: float, runs: int, note: str) -> Row:
    """Put a row together."""
    return Row(measure=measure, of=of, value=value, low=low, high=high, sd=sd, runs=runs, note=note)


def alone(measure: str, of: str, value: float, runs: int, note: str = "") -> Row:
    """Make a row without an interval: of two runs, or of an extreme of the runs at hand."""
    return row(measure, of, value, NO, NO, NO, runs, note)


def spanning(measure: str, of: str, value: float, low: float, high: float, sd: float, runs: int, note: str = "") -> Row:
    """Make a row with an interval; of runs that do not differ there is none, since they say nothing about others."""
    if not high - low > 1e-12 * max(1.0, abs(value)):
        same = "the runs do not differ" if runs > 2 else ""
        return row(measure, of, value, NO, NO, sd, runs, note or same)
    return row(measure, of, value, low, high, sd, runs, note)


def of_runs(measure: str, values: Float[np.ndarray, " m"], of: str = "mean run") -> Row:
    """Mean over runs; its interval is Student's, or where the range is bounded Wilson's, and stays in the range."""
    kind, runs = MEASURES[measure], len(values)
    if math.isinf(kind.low) or math.isinf(kind.high):
        mean, sd, low, high = student_mean_interval(values.tolist())
        low, high = max(low, kind.low), min(high, kind.high)
    else:
        mean, sd, low, high = run_interval_within(values.tolist(), kind.low, kind.high)
    return (
        spanning(measure, of, mean, low, high, sd, runs) if runs > 2 else row(measure, of, mean, NO, NO, sd, runs, "")
    )


def of_subsets(
    measure: str,
    of: str,
    statistic: Callable[[Int[np.ndarray, " k"]], float],
    runs: int,
    *,
    note: str = "",
    sd: float = math.nan,
) -> Row:
    """Statistic of a set of runs; its interval leaves one of them out at a time (jackknife).

    Parameters
    ----------
    statistic : callable
        Takes the places of the runs that are in the set.
    runs : int
        Number of all runs.
    """
    everyone = np.arange(runs)
    value = statistic(everyone)
    if runs < 3 or math.isnan(value):
        return row(measure, of, value, NO, NO, sd, runs, note)
    left_out = np.array([statistic(np.delete(everyone, one)) for one in everyone])
    kind = MEASURES[measure]
    found = jackknife_interval(value, left_out, low=kind.low, high=kind.high)
    return spanning(measure, of, value, float(found.low), float(found.high), sd, runs, note)


def of_pairs(measure: str, of: str, matrix: Float[np.ndarray, "m m"]) -> Row:
    """Mean over pairs of distinct runs."""
    runs = len(matrix)
    pairs = matrix[np.triu_indices(runs, 1)]
    if np.isnan(pairs).any():
        return alone(measure, of, NO, runs, "undefined: a run makes no error, or only errors")
    filled = np.where(np.eye(runs, dtype=bool), 0.0, matrix)
    sd = float(pairs.std(ddof=1)) if runs > 2 else NO
    return of_subsets(measure, of, lambda kept: group_mean(filled[np.ix_(kept, kept)]), runs, sd=sd)


def estimate(one: Row) -> str:
    """Write a number with its interval, in the digits that this allows.

    Examples
    --------
    >>> from analysis.comparison.measures import estimate, row
    >>> estimate(row("accuracy", "mean run", 0.91234, 0.9031, 0.9214, 0.01, 5, ""))
    '0.9123 [0.9031, 0.9214]'
    """
    if math.isnan(one["value"]):
        return one["note"] or "undefined"
    if one["measure"] == "runs_needed":
        ends = "" if math.isnan(one["low"]) else f" [{one['low']:,.0f}, {one['high']:,.0f}]"
        return f"{one['value']:,.0f}{ends}"
    text = format_estimate(one["value"], one["low"], one["high"], signed="minus" in one["of"])
    note = f" ({one['note']})" if one["note"] else ""
    return text.removesuffix(" (no interval)") + note
