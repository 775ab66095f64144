"""What is wrong with a report as a reader would meet it: empty tables, dead links, intervals out of their range."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

LARGEST = 3_000_000
"""Bytes of a page that can be sent."""
RANGES = {
    "accuracy %": (0.0, 100.0),
    "test accuracy": (0.0, 100.0),
    "two runs disagree on": (0.0, 100.0),
    "agreement %": (0.0, 100.0),
    "Kendall τ": (-1.0, 1.0),
    "AUC": (0.0, 1.0),
    "mean level": (0.0, 1.0),
    "R_miss": (0.0, 1.0),
    "Gini": (0.0, 1.0),
}
"""Range of what a column holds, by how its heading begins."""
_INTERVAL = re.compile(r"\[(-?[\d.,e+-]+), (-?[\d.,e+-]+)\]")
_PERCENT = re.compile(r"% \[(-?[\d.]+), (-?[\d.]+)\]")
_VOID = ("", "–")


class _Page(HTMLParser):
    """Tables, links, ids, and the sentences that state numbers."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: list[list[list[str]]] = []
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.ids: list[str] = []
        self.figures: list[list[str]] = []
        self.sentences: list[tuple[str, int]] = []
        self._open: list[str] = []
        self._cell = self._sentence = self._figure = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        have = {name: value or "" for name, value in attrs}
        if "id" in have:
            self.ids.append(have["id"])
        if tag == "a":
            self.links.append(have["href"])
            if self._figure:
                self.figures[-1].append(have["href"])
            if self._sentence and have["href"].startswith("../"):
                text, count = self.sentences[-1]
                self.sentences[-1] = (text, count + 1)
        self.loaded += [have[name] for name in ("src",) if name in have]
        if tag == "link":
            self.loaded.append(have.get("href", ""))
        if tag == "figure":
            self.figures.append([])
            self._figure = True
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("td", "th"):
            self.tables[-1][-1].append("")
            self._cell = True
        if have.get("class") in ("findings", "answer"):
            self._open.append(tag)
        if self._open and tag == ("li" if self._open[-1] == "ul" else self._open[-1]):
            self._sentence = True
            self.sentences.append(("", 0))

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self._cell = False
        if tag == "figure":
            self._figure = False
        if self._open and tag == self._open[-1] and tag in ("ul", "div"):
            self._open.pop()
            self._sentence = False

    def handle_data(self, data: str) -> None:
        if self._cell:
            self.tables[-1][-1][-1] += data
        if self._sentence:
            text, count = self.sentences[-1]
            self.sentences[-1] = (text + data, count)


def faults(folder: Path) -> list[str]:
    """List what a reader of a report would stumble over."""
    raw = (folder / "report.html").read_text(encoding="utf-8")
    text = raw.replace("\u00a0", " ")
    page = _Page(text)
    found = [] if len(raw.encode()) < LARGEST else [f"the page has {len(raw.encode()):,} bytes"]
    found += [f"{one[:60]} is loaded" for one in page.loaded if not one.startswith("data:")]
    for link in page.links:
        if link.startswith("#"):
            found += [] if link[1:] in page.ids else [f"no part {link}"]
        elif link.startswith("https://arxiv.org/abs/"):
            continue
        elif not link.startswith("data:") and not (folder / link).exists():
            found.append(f"no file {link}")
    found += [f"id {one} is there twice" for one in set(page.ids) if page.ids.count(one) > 1]
    for table in page.tables:
        found += _table_faults(table)
    for figure in page.figures:
        if not any(link.endswith(".csv") for link in figure):
            found.append(f"a figure without its numbers: {figure}")
    found += [f"out of range: {one[0]}" for one in _PERCENT.finditer(text) if float(one[1]) < 0 or float(one[2]) > 100]
    for sentence, sources in page.sentences:
        if re.search(r"\d", sentence) and not sources:
            found.append(f"no artifact behind: {sentence.strip()[:80]}")
    if "arxiv.org/abs" not in text and re.search(r"the paper|papers? reports?|arXiv \d", text):
        found.append("a paper is spoken of in a study that follows none")
    return found


def _table_faults(table: list[list[str]]) -> list[str]:
    heads, rows = table[0], table[1:]
    if not rows:
        return [f"a table without rows: {heads}"]
    found = []
    for place, head in enumerate(heads):
        cells = [row[place].strip() for row in rows]
        if all(cell in _VOID for cell in cells):
            found.append(f"an empty column: {head}")
        low, high = next((ends for name, ends in RANGES.items() if head.startswith(name)), (None, None))
        for cell in cells if low is not None and high is not None else []:
            for ends in _INTERVAL.finditer(cell):
                if float(ends[1].replace(",", "")) < low or float(ends[2].replace(",", "")) > high:
                    found.append(f"out of range: {head} {cell}")
    return found
