"""Blocks that a page is made of: text, tables, pictures and claims, in sections."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from analysis.verdicts import Claim, digits, format_estimate, run_interval_within, student_mean_interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Text:
    """A paragraph; plain text, escaped when rendered.

    Examples
    --------
    >>> from analysis.pages import Text
    >>> Text("Seeds 0 and 1 have equal outputs: was the seed set?").text
    'Seeds 0 and 1 have equal outputs: was the seed set?'
    """

    text: str


@dataclass(frozen=True)
class Table:
    """Rows of numbers and words.

    Attributes
    ----------
    columns : sequence of str
        Headings with units.
    rows : sequence of sequences
        Numbers are shown to three significant digits, a `Measured` with those that it allows; strings as they are.
    caption : str
        What the table shows and over how many runs.
    keys : sequence of str
        Keys of the artifacts behind the numbers.
    command : str
        The command that makes them.

    Examples
    --------
    >>> from analysis.pages import Table
    >>> Table(["run", "accuracy"], [["seed 0", 0.91]], "Accuracy on 1,000 examples.").columns
    ['run', 'accuracy']
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    caption: str
    keys: Sequence[str] = ()
    command: str = ""


@dataclass(frozen=True)
class Picture:
    """A figure with its caption and a description for those who cannot see it.

    Examples
    --------
    >>> from analysis.pages import Picture
    >>> from analysis.style import new_figure
    >>> figure, axes = new_figure()
    >>> Picture(figure, "Accuracy of five seeds.", "Accuracy by seed").alt
    'Accuracy by seed'
    """

    figure: Figure
    caption: str
    alt: str
    raster: bool = False
    """PNG instead of SVG, for image galleries and dense scatter plots."""


Block = Text | Table | Picture | Claim


@dataclass(frozen=True)
class Section:
    """One part of a page; ``findings`` are lifted to the summary at its top.

    Examples
    --------
    >>> from analysis.pages import Section, Text
    >>> Section("Seeds", [Text("Five seeds.")], ["Two seeds disagree on 5 % of decisions."]).title
    'Seeds'
    """

    title: str
    blocks: Sequence[Block]
    findings: Sequence[str] = field(default_factory=tuple)


class Measured(float):
    """A number with the text that a page shows: its digits are those that its interval allows."""

    text: str

    def __new__(cls, value: float, text: str) -> Measured:
        """Make a float that carries its text."""
        made = super().__new__(cls, value)
        made.text = text
        return made


OVER_SEEDS = (
    "Runs counts seeds, the unit over which 95 % intervals are taken: Student's t, or, for shares, accuracies and "
    "other measures of bounded range, Wilson's interval with the spread between seeds, which cannot leave that range."
)
"""The sentence on n and intervals that captions of tables over seeds end with."""


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
