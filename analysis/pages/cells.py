"""Cells of tables over runs: a number with the digits that its interval allows, and the words that captions need."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from analysis.verdicts import digits, format_estimate, run_interval_within, student_mean_interval

_TAKEN = "Student's t, or Wilson's with the spread between seeds for measures of a bounded range."
OVER_SEEDS = f"95 % intervals over runs, one of each seed: {_TAKEN}"
"""The sentence on n and intervals that captions of tables over seeds end with."""
PAIR_INTERVALS = f"95 % intervals over pairs of seeds: {_TAKEN}"
"""The same where a row is about pairs of runs."""
NO_SPREAD = "No interval: a single run, or runs that do not differ."
"""What a caption says in its place where no row has an interval."""
INTERVAL = "95 % interval"
"""How the heading of a column of intervals begins."""


def is_void(cell: Any) -> bool:
    """Whether a cell of a table says nothing.

    Examples
    --------
    >>> [is_void(cell) for cell in (None, float("nan"), "–", "", 0, "no")]
    [True, True, True, True, False, False]
    """
    return cell is None or (isinstance(cell, str) and cell.strip() in ("", "–")) or (cell != cell) is True


class Measured(float):
    """A number with the text that a page shows: its digits are those that its interval allows."""

    text: str

    def __new__(cls, value: float, text: str) -> Measured:
        """Make a float that carries its text."""
        made = super().__new__(cls, value)
        made.text = text
        return made


def interval_cell(low: float, high: float) -> str:
    """Write an interval with the digits that its width allows; a dash where there is none."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return "–"
    return format_estimate(low, low, high).partition(" ")[2]


def summary_cells(values: Sequence[float], within: tuple[float, float] | None = None) -> list[Any]:
    """Cells n, mean, sd and 95 % interval over runs for one row of a table.

    Parameters
    ----------
    values : sequence of float
        One per run.
    within : tuple of two float or None
        Range of the number, such as (0, 100) of an accuracy in percent or (0, inf) of an error; its interval stays
        inside.
    """
    if within is None or math.isinf(within[0]) or math.isinf(within[1]):
        mean, sd, low, high = student_mean_interval(values)
        # a mean of numbers that cannot leave a range is in it: cutting the interval there loses no coverage
        low, high = (low, high) if within is None else (max(low, within[0]), min(high, within[1]))
    else:
        mean, sd, low, high = run_interval_within(values, *within)
    if not (math.isfinite(low) and high - low > 1e-12 * max(abs(mean), 1e-300)):
        return [len(values), mean, "–" if sd != sd else sd, "–"]
    shown = format_estimate(mean, low, high).partition(" ")[0]
    spread = f"{sd:.{digits(low, high)}f}" if "e" not in shown else f"{sd:.2g}"
    return [len(values), Measured(mean, shown), Measured(sd, spread), interval_cell(low, high)]
