"""A page of one's own: sections of blocks as one HTML file that needs nothing beside it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from analysis.pages.blocks import Picture, Section, Table, Text
from analysis.pages.views import environment, view
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
        Blocks in their order; ``findings`` are lifted to the top.
    question : str
        What the page answers, under its title.
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
    ...     made.name, '<td class="word">seed 1</td>' in made.read_text(encoding="utf-8")
    ('runs.html', True)
    """
    target = Path(path).absolute()
    if target.is_dir():
        raise ValueError(f"{target} is a folder: name a file in it, such as {target / 'report.html'}.")
    text = (
        environment()
        .get_template("page.html")
        .render(
            title=title,
            question=question,
            facts=list(facts),
            findings=[line for section in sections for line in section.findings],
            sections=[
                {
                    "title": section.title,
                    "blocks": [_shown(block, f"{i}-{j}") for j, block in enumerate(section.blocks)],
                }
                for i, section in enumerate(sections, start=1)
            ],
        )
    )
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as folder:
        made = Path(folder) / target.name
        made.write_text(visible(text), encoding="utf-8")
        os.replace(made, target)
    return target


def _shown(block: Text | Table | Picture | Claim, name: str) -> dict[str, object]:
    if isinstance(block, Claim):
        raise ValueError(f"Claim {block.name!r} cannot be shown here: its verdict depends on an experiment's setting.")
    return view(block, name).shown
