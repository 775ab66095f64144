"""From blocks to what the templates of a page show: numbers as text, figures as SVG or PNG."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from analysis.pages.blocks import Measured, Picture, Table, Text


@dataclass(frozen=True)
class View:
    """A block as a template shows it.

    Attributes
    ----------
    shown : dict
        What the template fills in; ``kind`` (text, table, picture or verdict) names the part of it that does.
    files : dict of str to bytes
        Its figure as a file of its own, by name, and beside it the numbers that the figure draws.
    png : bytes
        Its figure as PNG, where the page shows that or it was asked for.
    """

    shown: dict[str, Any]
    files: dict[str, bytes] = field(default_factory=dict)
    png: bytes = b""


def view(block: Text | Table | Picture, name: str, *, png: bool = False) -> View:
    """Turn one block into its view.

    Parameters
    ----------
    block : Text, Table or Picture
    name : str
        Name of its figure, unique on the page; ids within the figure begin with it.
    png : bool
        Also draw a figure as PNG that the page shows as SVG, for whoever collects images.
    """
    if isinstance(block, Text):
        return View({"kind": "text", "text": block.text})
    return _table(block) if isinstance(block, Table) else _picture(block, name, png)


def _table(block: Table) -> View:
    columns = list(zip(*block.rows, strict=True)) or [()] * len(block.columns)
    words = [any(isinstance(cell, str) and not cell.startswith(("[", "–")) for cell in column) for column in columns]
    return View(
        {
            "kind": "table",
            "columns": block.columns,
            "rows": [[number(cell) for cell in row] for row in block.rows],
            "words": words,
            "caption": block.caption,
            "keys": list(dict.fromkeys(block.keys)),
            "command": block.command,
        },
    )


def _picture(block: Picture, name: str, wanted: bool) -> View:
    from analysis.figure_data import figure_csv
    from analysis.style import png_bytes, svg_bytes, undrawn_names

    png = png_bytes(block.figure) if wanted or block.raster else b""
    svg = b"" if block.raster else svg_bytes(block.figure)
    text = svg.decode()
    # Element ids repeat between figures; a prefix keeps clip paths and glyphs apart within one page.
    for mark in ('id="', 'href="#', "url(#"):
        text = text.replace(mark, f"{mark}f{name}-")
    numbers = figure_csv(block.figure)
    data = {f"{name}.csv": numbers.encode()} if numbers else {}
    lacking = ", ".join(f"{mark} is {written}" for mark, written in undrawn_names(block.figure).items())
    note = f" The figure's font lacks some characters: in it, {lacking}." if lacking else ""
    return View(
        {
            "kind": "picture",
            "svg": Markup(text[text.index("<svg") :]) if svg else "",
            "png": base64.b64encode(png).decode() if block.raster else "",
            "caption": f"{block.caption}{note}",
            "alt": block.alt,
        },
        ({f"{name}.png": png} if block.raster else {f"{name}.svg": svg}) | data,
        png,
    )


def number(cell: Any) -> str:
    """Write a cell of a table: numbers to three significant digits, or to those that their interval allows."""
    if isinstance(cell, Measured):
        return cell.text
    if isinstance(cell, bool) or not isinstance(cell, (int, float)):
        return "–" if cell is None else str(cell)
    if isinstance(cell, int):
        return f"{cell:,}"
    if cell != cell:
        return "–"
    return f"{cell:,.0f}" if 1000 <= abs(cell) < 1e6 else f"{cell:.3g}"


def environment(*folders: Any) -> Environment:
    """Jinja environment of a page: templates of these folders before the page's own; a name without value is an error.

    Parameters
    ----------
    *folders : path
        Where templates lie that extend ``page.html``.
    """
    from pathlib import Path

    from jinja2 import FileSystemLoader, StrictUndefined

    own = Path(__file__).with_name("templates")
    return Environment(loader=FileSystemLoader([*folders, own]), autoescape=True, undefined=StrictUndefined)
