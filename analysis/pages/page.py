"""A page of one's own: sections of blocks as one HTML file that needs nothing beside it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup

from analysis.pages.blocks import Section
from analysis.pages.views import Ordinary, Views, environment
from analysis.plain_text import visible
from analysis.verdicts import Claim


def write_page(
    path: str | os.PathLike[str],
    title: str,
    sections: Sequence[Section],
    *,
    question: str = "",
    facts: Sequence[tuple[str, str]] = (),
) -> Path:
    """Write one HTML page; the look is that of the pipeline's reports.

    The file appears whole or not at all, and equal content gives equal bytes. Figures are drawn into the page.

    Parameters
    ----------
    path : path
        Where the file goes; folders on the way are made, a file that is there is replaced.
    title : str
        Title of the page.
    sections : sequence of Section
        Blocks in their order; the first headline of any is the page's first screen.
    question : str
        What the page answers, under its title; without one, what its headline answers.
    facts : sequence of (str, str)
        Names and values of the line below, such as ("runs", "5").

    Returns
    -------
    Path
        The file's absolute path.

    Raises
    ------
    ValueError
        If the path is a folder, or a section holds a claim: verdicts need the setting of an experiment.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from analysis.pages import Section, Table, write_page
    >>> table = Table(["run", "accuracy"], [["seed 0", 0.91], ["seed 1", 0.93]], "Accuracy on 1,000 examples.")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     made = write_page(Path(folder) / "runs.html", "My runs", [Section("Accuracy", [table])])
    ...     made.name, '<th scope="row" class="word">seed 1</th>' in made.read_text(encoding="utf-8")
    ('runs.html', True)
    """
    target = Path(path).absolute()
    if target.is_dir():
        raise ValueError(f"{target} is a folder: name a file in it, such as {target / 'report.html'}.")
    if any(isinstance(block, Claim) for section in sections for block in section.blocks):
        name = next(block.name for section in sections for block in section.blocks if isinstance(block, Claim))
        raise ValueError(f"Claim {name!r} cannot be shown here: its verdict depends on an experiment's setting.")
    headline = next((one for section in sections for one in section.headlines), None)
    views = Views()
    first = [] if headline is None else [one for one in (headline.picture, headline.table) if one is not None]
    text = (
        environment()
        .get_template("page.html")
        .render(
            title=title,
            question=question or ("" if headline is None else headline.question),
            answer="" if headline is None else headline.answer,
            first=[found.shown for found in views.all(first, "0")],
            facts=list(facts),
            answer_links=[],
            origin=(),
            seeds=[],
            sections=[
                {
                    "id": f"s{i}",
                    "title": section.title,
                    "lead": "",
                    "open": i == 1,
                    "blocks": [found.shown for found in views.all(_ordinary(section), str(i))],
                }
                for i, section in enumerate(sections, start=1)
            ],
            glyphs=Markup(views.inline.glyphs),
        )
    )
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as folder:
        made = Path(folder) / target.name
        made.write_text(visible(text), encoding="utf-8")
        os.replace(made, target)
    return target


def _ordinary(section: Section) -> list[Ordinary]:
    return [block for block in section.blocks if not isinstance(block, Claim)]
