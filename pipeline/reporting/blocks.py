"""Blocks that a report is made of; each stage contributes one section."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from analysis.verdicts import Claim, student_mean_interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Text:
    """A paragraph; plain text, escaped when rendered."""

    text: str


@dataclass(frozen=True)
class Table:
    """Rows of numbers and words.

    Attributes
    ----------
    columns : sequence of str
        Headings with units.
    rows : sequence of sequences
        Numbers are shown to four significant digits; strings as they are.
    caption : str
        What the table shows and over how many runs.
    keys : sequence of str
        Keys of the artifacts behind the numbers.
    command : str
        The command that makes them.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    caption: str
    keys: Sequence[str] = ()
    command: str = ""


@dataclass(frozen=True)
class Picture:
    """A figure with its caption and a description for those who cannot see it."""

    figure: Figure
    caption: str
    alt: str
    raster: bool = False
    """PNG instead of SVG, for image galleries and dense scatter plots."""


@dataclass(frozen=True)
class Verdict:
    """What became of a published claim, with the test that decided.

    Attributes
    ----------
    claim : str
        The claim in one sentence, with its identifier.
    verdict : str
        ``reproduced``, ``not reproduced`` or ``undecided at this n``.
    evidence : str
        Effect, interval, n and the deciding test.
    target : str
        Published value, where there is one.
    standing : str
        published, authors' code, second-hand, memory or derived.
    """

    claim: str
    verdict: str
    evidence: str
    target: str = ""
    standing: str = ""


Block = Text | Table | Picture | Claim | Verdict


@dataclass(frozen=True)
class Section:
    """One part of a report; ``findings`` are lifted to the summary at its top."""

    title: str
    blocks: Sequence[Block]
    findings: Sequence[str] = field(default_factory=tuple)


def summary_cells(values: Sequence[float]) -> list[Any]:
    """Cells n, mean, sd and 95 % interval for one row of a table."""
    mean, sd, low, high = student_mean_interval(values)
    interval = "–" if low != low else f"[{low:.4g}, {high:.4g}]"
    return [len(values), mean, "–" if sd != sd else sd, interval]
