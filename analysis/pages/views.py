"""From blocks to what the templates of a page show: numbers as text, figures as SVG or PNG, links to files."""

from __future__ import annotations

import base64
import csv
import io
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from analysis.pages.blocks import Command, Finding, Gallery, MarkedTexts, Picture, Table, Text
from analysis.pages.cells import Measured
from analysis.pages.drawing import Drawn, draw
from analysis.pages.inline_svg import InlineSvg
from analysis.style import PNG_DPI

FOLDER = Path(__file__).parent
_NUMBER = re.compile(r"\s*([-+−]?\d[\d,]*\.?\d*(?:e[-+]?\d+)?)\b")
_SEED = re.compile(r"seed (\w+)")
_WIDTH = re.compile(r'width="(\d+)"')
HALF = 540
"""Pixels up to which a figure of one panel leaves room for another one beside it on a wide screen."""
Ordinary = Text | Finding | Command | Table | Picture | Gallery | MarkedTexts


@dataclass(frozen=True)
class View:
    """A block as a template shows it.

    Attributes
    ----------
    shown : dict
        What the template fills in; ``kind`` names the part of it that does.
    files : dict of str to bytes
        Its figure as a file of its own, by name, and beside it the numbers that the figure draws.
    png : bytes
        Its figure as PNG, where the page shows that or it was asked for.
    """

    shown: dict[str, Any]
    files: dict[str, bytes] = field(default_factory=dict)
    png: bytes = b""


@dataclass
class Views:
    """Turns the blocks of one page into views.

    Parameters
    ----------
    folders : mapping of str to str
        From the key of an artifact to its folder, relative to the page; without it, keys are words.
    files : str or None
        Folder of the figures' files, relative to the page; None puts them into the page itself, as links.
    png : bool
        Also draw figures as PNG that the page shows as SVG, for whoever collects images.
    drawn : mapping of int to Drawn
        Figures that are drawn already, by the ``id`` of their block; others are drawn when they are viewed.
    """

    folders: Mapping[str, str] = field(default_factory=dict)
    files: str | None = None
    png: bool = False
    inline: InlineSvg = field(default_factory=InlineSvg)
    drawn: Mapping[int, Drawn] = field(default_factory=dict)
    _drawn: dict[int, tuple[Picture, Drawn]] = field(default_factory=dict, repr=False)

    def all(self, blocks: Iterable[Ordinary], name: str) -> list[View]:
        """View blocks in their order; findings that follow each other are one list."""
        views: list[View] = []
        for place, block in enumerate(blocks):
            found = self.one(block, f"{name}-{place}")
            if views and found.shown["kind"] == views[-1].shown["kind"] == "findings":
                views[-1].shown["lines"] += found.shown["lines"]
            else:
                views.append(found)
        return views

    def one(self, block: Ordinary, name: str) -> View:
        """View one block.

        Parameters
        ----------
        block : block
        name : str
            Of its figure: unique on the page, and the names of its files.
        """
        if isinstance(block, Text):
            return View({"kind": "text", "text": block.text, "links": self.links(block.keys)})
        if isinstance(block, Finding):
            return View({"kind": "findings", "lines": [{"text": block.text, "links": self.links(block.keys)}]})
        if isinstance(block, Command):
            return View({"kind": "command", "command": block.command, "caption": block.caption})
        if isinstance(block, Table):
            return self._table(block)
        if isinstance(block, MarkedTexts):
            return self._marked(block, name)
        return self._gallery(block, name) if isinstance(block, Gallery) else self._picture(block, name)

    def links(self, keys: Iterable[str]) -> list[dict[str, str]]:
        """Give names and addresses of the folders of artifacts that the page knows."""
        return [{"name": key, "href": self.folders[key]} for key in dict.fromkeys(keys) if key in self.folders]

    def _file(self, name: str, content: bytes, kind: str) -> str:
        if self.files is not None:
            return f"{self.files}/{name}"
        return f"data:{kind};base64,{base64.b64encode(content).decode()}"

    def _table(self, block: Table) -> View:
        columns = list(zip(*block.rows, strict=True)) or [()] * len(block.columns)
        words = [any(isinstance(cell, str) and not _reads_as_number(cell) for cell in column) for column in columns]
        shown = {
            "kind": "table",
            "columns": block.columns,
            "rows": [
                {"seed": _seed(block.columns, row), "cells": [{"text": number(c), "value": value_of(c)} for c in row]}
                for row in block.rows
            ],
            "words": words,
            "caption": block.caption,
            "label": f"Table: {block.caption.partition('. ')[0][:90]}",
            "keys": list(dict.fromkeys(block.keys)),
            "links": self.links(block.keys),
            "command": block.command,
        }
        return View(shown)

    def _picture(self, block: Picture, name: str) -> View:
        if id(block) not in self._drawn:  # drawn once, however often it is shown
            self._drawn[id(block)] = (block, self.drawn.get(id(block)) or draw(block, png=self.png))
        drawn = self._drawn[id(block)][1]
        if drawn.nothing:
            return View({"kind": "text", "text": drawn.note.strip(), "links": []})
        files = {f"{name}.png": drawn.png} if block.raster else {f"{name}.svg": drawn.svg}
        panels = [Markup(self.inline.take(one, f"f{name}-{i}")) for i, one in enumerate(drawn.panels)]
        raster = round(int.from_bytes(drawn.png[16:20]) * 96 / PNG_DPI) if block.raster else 0
        widths = [raster] if block.raster else [_across(panel) for panel in panels]
        shown = {
            "kind": "picture",
            "name": f"f{name}",
            "narrow": len(widths) == 1 and widths[0] <= HALF,
            "panels": panels,
            "legend": Markup(self.inline.take(drawn.legend, f"f{name}-l")) if drawn.legend else "",
            "png": base64.b64encode(drawn.png).decode() if block.raster else "",
            "width": raster,
            "caption": f"{block.caption}{drawn.note}",
            "alt": block.alt,
            "words": drawn.words,
            "csv": "",
            "file": self._file(*next(iter(files.items())), "image/png" if block.raster else "image/svg+xml"),
            "inline": self.files is None,
            "origin": "",
        }
        if drawn.csv:
            files[f"{name}.csv"] = drawn.csv.encode()
            shown["csv"] = self._file(f"{name}.csv", drawn.csv.encode(), "text/csv")
        return View(shown, files, drawn.png)

    def _gallery(self, block: Gallery, name: str) -> View:
        table = io.StringIO()
        writer = csv.writer(table, lineterminator="\n")
        writer.writerow(["row", "place", "title", "note", "agrees"])
        for i, row in enumerate(block.rows):
            for j, shot in enumerate(row):
                writer.writerow([i, j, shot.title, shot.note, "" if shot.agrees is None else int(shot.agrees)])
        content = table.getvalue().encode()
        shown = {
            "kind": "gallery",
            "name": f"f{name}",
            "rows": [
                [
                    {"png": _png(shot.pixels), "title": shot.title, "note": shot.note, "agrees": shot.agrees}
                    for shot in row
                ]
                for row in block.rows
            ],
            "caption": block.caption,
            "legend": block.legend,
            "csv": self._file(f"{name}.csv", content, "text/csv"),
            "file": "",
            "inline": self.files is None,
            "origin": "",
        }
        return View(shown, {f"{name}.csv": content})

    def _marked(self, block: MarkedTexts, name: str) -> View:
        table = io.StringIO()
        writer = csv.writer(table, lineterminator="\n")
        writer.writerow(["text", "place", "token", "value"])
        rows = []
        for text in block.texts:
            largest = max((abs(value) for value in text.values), default=0.0) or 1.0
            spans = []
            for place, (token, value) in enumerate(zip(text.tokens, text.values, strict=True)):
                writer.writerow([text.title, place, token, value])
                shade = _shade(abs(value) / largest)
                tone = f"{'for' if value > 0 else 'against'}{shade}" if shade else ""
                spans.append({"text": token, "tone": tone, "value": number(value)})
            rows.append({"title": text.title, "spans": spans})
        content = table.getvalue().encode()
        shown = {
            "kind": "marked",
            "name": f"f{name}",
            "rows": rows,
            "caption": block.caption,
            "legend": block.legend,
            "csv": self._file(f"{name}.csv", content, "text/csv"),
            "file": "",
            "inline": self.files is None,
            "origin": "",
        }
        return View(shown, {f"{name}.csv": content})


def _across(panel: str) -> int:
    found = _WIDTH.search(panel)
    return int(found[1]) if found else 0


def _shade(share: float) -> int:
    """Darkness of a token from its share of the strongest one: each of four steps is a factor of five."""
    return sum(share > 5.0**-step for step in (1, 2, 3, 4))


def _png(pixels: Any) -> str:
    from PIL import Image

    stream = io.BytesIO()
    gray = pixels.shape[-1] == 1
    Image.fromarray(pixels[..., 0] if gray else pixels).save(stream, "png", optimize=True)
    return base64.b64encode(stream.getvalue()).decode()


def _seed(columns: Sequence[str], row: Sequence[Any]) -> str:
    """Name the seed that a row is about, where it is about one."""
    if "seed" in columns:
        return str(row[list(columns).index("seed")])
    found = _SEED.fullmatch(str(row[0]))
    return found[1] if found else ""


def _reads_as_number(cell: str) -> bool:
    return not cell or cell.startswith(("[", "–")) or _NUMBER.match(cell) is not None


def value_of(cell: Any) -> float | None:
    """Give the number by which a cell is sorted: of an estimate with its interval, the estimate.

    Examples
    --------
    >>> value_of("0.71 [0.66, 0.75]"), value_of(1200), value_of("mlp")
    (0.71, 1200.0, None)
    """
    if isinstance(cell, str):
        found = _NUMBER.match(cell)
        return float(found[1].replace(",", "").replace("−", "-")) if found else None
    if isinstance(cell, bool) or not isinstance(cell, (int, float)) or not math.isfinite(cell):
        return None
    return float(cell)


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


_INTERVAL = re.compile(r"\[([-−+\d.,e∞]+), ([-−+\d.e∞]+)\]")
_SPACE = re.compile(r"(?<=δ) (?=\d)|(?<=\d) (?=%)|(?<=%) (?=\[)|(?<=\bn) (?== \d)|(?<=\bn =) (?=\d)")


def unbroken(text: str) -> str:
    """Keep numbers with their unit, and intervals, on one line.

    Examples
    --------
    >>> unbroken("13 % [3, 24] (n = 3)").replace("\u00a0", "_")
    '13_%_[3,_24] (n_=_3)'
    """
    text = _INTERVAL.sub("[\\1,\u00a0\\2]", text)
    return _SPACE.sub("\u00a0", text)


def asset(name: str) -> Markup:
    """Read a style sheet or script that a page contains; they are ours, so that nothing in them is escaped."""
    return Markup((FOLDER / "assets" / name).read_text(encoding="utf-8"))


def environment(*folders: Any) -> Environment:
    """Jinja environment of a page: templates of these folders before the page's own; a name without value is an error.

    Parameters
    ----------
    *folders : path
        Where templates lie that extend ``page.html``.
    """
    from jinja2 import FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader([*folders, FOLDER / "templates"]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    inserted: Callable[[str], Markup] = asset
    made.globals["asset"] = inserted
    made.filters["unbroken"] = unbroken
    return made
