"""Blocks that a page is made of, in sections: each knows what it may hold, so that no page shows anything void."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from analysis.pages.cells import INTERVAL, NO_SPREAD, OVER_SEEDS, PAIR_INTERVALS, is_void
from analysis.pages.estimate import Estimate
from analysis.verdicts import Claim

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure

FIRST_ROWS = 4
"""Rows of the table on a page's first screen, at most."""


@dataclass(frozen=True)
class Text:
    """A paragraph; plain text, escaped when rendered.

    Attributes
    ----------
    text : str
    keys : sequence of str
        Keys of the artifacts behind its numbers.

    Examples
    --------
    >>> from analysis.pages import Text
    >>> Text("Seeds 0 and 1 have equal outputs: was the seed set?").text
    'Seeds 0 and 1 have equal outputs: was the seed set?'
    """

    text: str
    keys: Sequence[str] = ()


@dataclass(frozen=True)
class Finding:
    """A sentence that says what came out, with its interval and n; all of them also stand on the first screens.

    Attributes
    ----------
    text : str
        One sentence.
    keys : sequence of str
        Keys of the artifacts behind its numbers; without them, all of the section that it stands in.

    Examples
    --------
    >>> from analysis.pages import Finding
    >>> Finding("Two seeds disagree on 5.1 % [4.6, 5.7] of decisions (n = 20).").keys
    ()
    """

    text: str
    keys: Sequence[str] = ()


@dataclass(frozen=True)
class Command:
    """A command to type, and what it does.

    Examples
    --------
    >>> from analysis.pages import Command
    >>> Command("python run.py experiment=quickstart", "Makes this page.").command
    'python run.py experiment=quickstart'
    """

    command: str
    caption: str = ""


@dataclass(frozen=True)
class Table:
    """Rows of numbers and words; a column in which no row has anything is left out.

    Where that is the column of intervals, the caption does not explain them.

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

    Raises
    ------
    ValueError
        If it has no rows, or a row has another number of cells than there are columns.

    Examples
    --------
    >>> from analysis.pages import Table
    >>> Table(["run", "accuracy"], [["seed 0", 0.91]], "Accuracy on 1,000 examples.").columns
    ['run', 'accuracy']
    >>> Table(["run", "accuracy", "sd"], [["seed 0", 0.91, None]], "One run has no spread.").columns
    ['run', 'accuracy']
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    caption: str
    keys: Sequence[str] = ()
    command: str = ""

    def __post_init__(self) -> None:
        """Refuse an empty table and drop empty columns."""
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"A row of {len(row)} cells stands under {len(self.columns)} columns: {row!r}.")
        kept = [place for place in range(len(self.columns)) if not all(is_void(row[place]) for row in self.rows)]
        if not kept:
            raise ValueError(f"A table without any entry is not shown: {self.caption!r}. Leave it out.")
        if len(kept) < len(self.columns):
            lost = {heading for place, heading in enumerate(self.columns) if place not in kept}
            if any(heading.startswith(INTERVAL) for heading in lost):
                caption = self.caption.replace(OVER_SEEDS, NO_SPREAD).replace(PAIR_INTERVALS, NO_SPREAD)
                object.__setattr__(self, "caption", caption)
            object.__setattr__(self, "columns", [self.columns[place] for place in kept])
            object.__setattr__(self, "rows", [[row[place] for place in kept] for row in self.rows])

    def first(self, place: str = "below") -> Table:
        """Shorten it to the rows that a first screen shows, and say where the others are.

        Examples
        --------
        >>> from analysis.pages import Table
        >>> short = Table(["run"], [[f"seed {i}"] for i in range(6)], "Runs.").first()
        >>> len(short.rows), short.caption
        (4, 'Runs. 2 more rows are below.')
        """
        more = len(self.rows) - FIRST_ROWS
        if more <= 0:
            return self
        noun = "row is" if more == 1 else "rows are"
        return replace(self, rows=self.rows[:FIRST_ROWS], caption=f"{self.caption} {more} more {noun} {place}.")


@dataclass(frozen=True)
class Picture:
    """A figure with its caption and a description for those who cannot see it.

    Panels in which everything is 0 are not shown; the caption says so.

    Attributes
    ----------
    figure : Figure
        Of matplotlib. On a page each of its panels is a picture of its own, so that they stand one below the other
        on a narrow screen.
    caption : str
        What is drawn, and over how many runs.
    alt : str
        What is seen, for those who cannot see it.
    raster : bool
        PNG instead of SVG, for dense scatter plots.

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


@dataclass(frozen=True)
class Shot:
    """An image of a gallery: its pixels (height, width, channels; uint8), two lines of text, and whether it agrees.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.pages import Shot
    >>> Shot(np.zeros((8, 8, 1), np.uint8), "training: 3", "+0.41", agrees=True).note
    '+0.41'
    """

    pixels: np.ndarray
    title: str
    note: str = ""
    agrees: bool | None = None


@dataclass(frozen=True)
class Gallery:
    """Images of the data, row by row: first the one that the row is about, then those that belong to it.

    Attributes
    ----------
    rows : sequence of sequence of Shot
    caption, legend : str
        What is shown, and what the two colors of frames mean.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.pages import Gallery, Shot
    >>> image = np.zeros((8, 8, 1), np.uint8)
    >>> Gallery([[Shot(image, "test: 3"), Shot(image, "3", "+0.41", agrees=True)]], "Supporting images.").legend
    ''
    """

    rows: Sequence[Sequence[Shot]]
    caption: str
    legend: str = ""

    def __post_init__(self) -> None:
        """Refuse a gallery without images."""
        if not self.rows or not all(self.rows):
            raise ValueError(f"A gallery without images is not shown: {self.caption!r}. Leave it out.")


@dataclass(frozen=True)
class MarkedText:
    """A text in tokens, each with a number that colors it: blue above zero, orange below.

    Examples
    --------
    >>> from analysis.pages import MarkedText
    >>> MarkedText("training text 1", ["a", " good", " film"], [0.0, 0.8, -0.1]).tokens[1]
    ' good'
    """

    title: str
    tokens: Sequence[str]
    values: Sequence[float]

    def __post_init__(self) -> None:
        """Refuse tokens without numbers."""
        if len(self.tokens) != len(self.values):
            raise ValueError(f"{self.title!r}: {len(self.tokens)} tokens have {len(self.values)} values.")


@dataclass(frozen=True)
class MarkedTexts:
    """Texts whose tokens are colored by their share in something: the lightest is 5⁻⁴ of the strongest of its text.

    Attributes
    ----------
    texts : sequence of MarkedText
    caption, legend : str
        What is shown, and what the colors mean.

    Examples
    --------
    >>> from analysis.pages import MarkedText, MarkedTexts
    >>> MarkedTexts([MarkedText("test", ["good", " film"], [0.8, -0.1])], "Tokens that speak for the class.").legend
    'Blue speaks for the class, orange against it; from shade to shade of a text is a factor of 5.'
    """

    texts: Sequence[MarkedText]
    caption: str
    legend: str = "Blue speaks for the class, orange against it; from shade to shade of a text is a factor of 5."

    def __post_init__(self) -> None:
        """Refuse a block without texts."""
        if not self.texts:
            raise ValueError(f"Marked texts without a text are not shown: {self.caption!r}. Leave them out.")


Block = Text | Finding | Command | Table | Picture | Gallery | MarkedTexts | Claim


@dataclass(frozen=True)
class Headline:
    """What a section has to say to a question: an answer, and the picture and table that a first screen shows with it.

    Attributes
    ----------
    name : str
        By which an experiment picks it, where a section has several.
    question : str
        The question that it answers, for a study that asks none.
    answer : str
        One sentence with interval and n.
    table : Table
        Four rows at most, see :meth:`Table.first`.
    picture : Picture or None
    estimates : sequence of Estimate
        Means over runs that it states, of all groups.

    Raises
    ------
    ValueError
        If the table has more rows.

    Examples
    --------
    >>> from analysis.pages import Headline, Table
    >>> table = Table(["network", "churn"], [["mlp", "6.6 % [6.1, 7.1]"]], "Two of 20 runs, on 1,000 images.")
    >>> Headline("churn", "How far do seeds differ?", "They disagree on 6.6 % [6.1, 7.1] (n = 20).", table).name
    'churn'
    """

    name: str
    question: str
    answer: str
    table: Table
    picture: Picture | None = None
    estimates: Sequence[Estimate] = ()

    def __post_init__(self) -> None:
        """Refuse a long table."""
        if len(self.table.rows) > FIRST_ROWS:
            raise ValueError(f"A first screen shows {FIRST_ROWS} rows, not {len(self.table.rows)}: use Table.first.")


@dataclass(frozen=True)
class Section:
    """One part of a page: a list of blocks, and what it answers.

    Examples
    --------
    >>> from analysis.pages import Finding, Section
    >>> Section("Seeds", [Finding("Two seeds disagree on 5 % of decisions.")]).findings
    ['Two seeds disagree on 5 % of decisions.']
    """

    title: str
    blocks: Sequence[Block]
    headlines: Sequence[Headline] = field(default_factory=tuple)

    @property
    def findings(self) -> list[str]:
        """Sentences of its findings."""
        return [block.text for block in self.blocks if isinstance(block, Finding)]
