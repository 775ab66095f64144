"""Readers of text files: tables with a line of names, JSON lines, two published forms of tables, plain lines."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.data.errors import DataError
from pipeline.data.labels import is_missing, is_number, no_label, parse_whole, read_labels
from pipeline.data.records import UNLABELED, Columns
from pipeline.data.sources.columns import vector_columns
from pipeline.data.sources.reading import EVERY, NEEDED, OPTIONAL, Naming, Reading, shown
from pipeline.data.sources.sizes import read_whole
from pipeline.data.sources.tables import DELIMITERS, TextTable, decode_lines, delimiter_of, parse_table

SENTIMENT140_COLUMNS = ("label", "id", "date", "query", "user", "text")
TEXT_COPIES = 4
"""Times a text file's size that its rows take while they are read."""


def read_csv(path: Path, reading: Reading) -> Columns:
    """Read a UTF-8 table with a header; ``data.path.delimiter`` separates its columns."""
    naming = reading.naming
    content = read_whole(path, TEXT_COPIES)
    table = parse_table(
        content,
        None,
        encoding="utf-8",
        delimiter=delimiter_of(content) if reading.delimiter == "auto" else DELIMITERS[reading.delimiter],
        name=path.name,
        whole=[naming.theirs("label")],
    )
    where = reading.where(path)
    if reading.kind == "vector":
        return vector_columns(
            list(table.columns),
            naming,
            where,
            lambda name: _numbers(name, table, path, naming),
            lambda name: _cells(table.columns[name], table, path, reading),
        )
    named = naming.named(table.columns, where)
    missing = [name for name in NEEDED["text"] if name not in named]
    if missing:
        raise DataError(
            f"{path}, line 1: the columns are {', '.join(map(ascii, table.columns))}; needed are text and label (a csv "
            f"begins with a line of such names). {naming.way('text', list(table.columns))}"
        )
    columns: Columns = {name: named[name] for name in ("text", "domain", "group") if name in named}
    for name in OPTIONAL["text"]:
        for line, value in zip(table.lines, columns.get(name, ()), strict=name in columns):
            if not value.strip():
                unnamed = f"'data.path.rename={{{naming.theirs(name)}: other}}' leaves the column unread"
                raise DataError(f"{path}, line {line}: no {name}; fill it in, or {unnamed}.")
    return {**columns, "label": _cells(named["label"], table, path, reading)}


def read_json_lines(path: Path, reading: Reading) -> Columns:
    """Read a file with one JSON object a line; the names of the first one are the columns."""
    where, naming = reading.where(path), reading.naming
    minded = None if naming.columns.get("x") == EVERY else naming.wanted(reading.kind)
    table = _json_table(read_whole(path, TEXT_COPIES), path, minded)
    names = list(table.columns)
    if reading.kind == "vector":
        return vector_columns(
            names,
            naming,
            where,
            lambda name: table.numbers(name, naming),
            lambda name: read_labels(table.values(name), reading.read.labels, where),
        )
    named = naming.named({name: name for name in names}, where)
    missing = [name for name in NEEDED["text"] if name not in named]
    if missing:
        raise DataError(
            f"{path}, line {table.lines[0]}: the names are {', '.join(map(ascii, names))}; needed are text and label. "
            f"{naming.way('text', names)}"
        )
    columns: Columns = {"text": table.texts(named["text"], numbers=False)}
    for name in OPTIONAL["text"]:
        if name in named:
            columns[name] = table.texts(named[name], numbers=True)
    return {**columns, "label": read_labels(table.values(named["label"]), reading.read.labels, where)}


def read_sentiment140(path: Path, reading: Reading) -> Columns:
    """Read an original Sentiment140 table: Latin-1, no header, polarity 0, 2 or 4; users become groups."""
    content = read_whole(path, TEXT_COPIES)
    options = {"encoding": "latin-1", "delimiter": ",", "name": path.name}
    table = parse_table(content, SENTIMENT140_COLUMNS, one_line=True, **options)  # type: ignore[arg-type]
    columns = table.columns
    labels = parse_whole(columns["label"], table.lines, path.name, way="")
    domain = [reading.split] * len(labels)
    return {"text": columns["text"], "label": labels, "domain": domain, "group": columns["user"]}


def read_cola(path: Path, reading: Reading) -> Columns:
    """Read one of the CoLA authors' tables: source, label, mark, sentence; the file name tells the domain."""
    names = ("source", "label", "mark", "text")
    content = read_whole(path, TEXT_COPIES)
    table = parse_table(content, names, encoding="utf-8", delimiter="\t", name=path.name, quotes=False)
    domain = "out" if "out_of_domain" in path.name else "in"
    labels = parse_whole(table.columns["label"], table.lines, path.name, way="")
    return {"text": table.columns["text"], "label": labels, "domain": [domain] * len(labels)}


def read_lines(path: Path, reading: Reading) -> Columns:
    """Read a plain UTF-8 text file, one text a line, without labels (for shift tests of one's own texts)."""
    texts = decode_lines(read_whole(path, TEXT_COPIES), "utf-8", path.name)
    for line, text in enumerate(texts, 1):
        if "\r" in text.rstrip("\r"):
            raise DataError(f"{path.name}, line {line}: a carriage return inside the line; end all lines alike.")
    labels = np.full(len(texts), UNLABELED, dtype=np.int64)
    return {"text": texts, "label": labels, "domain": [reading.split] * len(texts)}


def _cells(values: list[str], table: TextTable, path: Path, reading: Reading) -> np.ndarray:
    """Labels of a csv: whole numbers where all cells are, else words to be numbered."""
    if reading.read.labels != "numbers" and not all(map(is_number, values)):
        if reading.read.labels == "auto":
            for line, value in zip(table.lines, values, strict=True):
                if is_missing(value):
                    raise DataError(f"{path}, line {line}: {no_label(value)}.")
        return read_labels(values, reading.read.labels, reading.where(path))
    return parse_whole(values, table.lines, path.name)


def _numbers(name: str, table: TextTable, path: Path, naming: Naming) -> np.ndarray:
    """One column of a csv as float64 (n,)."""
    result = np.empty(len(table.lines))
    for row, (cell, line) in enumerate(zip(table.columns[name], table.lines, strict=True)):
        if not is_number(cell) or not math.isfinite(value := float(cell)):
            raise DataError(f"{path}, line {line}: {_unfit(name, cell, naming)}.")
        result[row] = value
    return result


def _unfit(name: str, cell: str, naming: Naming) -> str:
    word = cell.strip()
    if not word or word.casefold() in ("nan", "na", "null", "none"):
        return f"no value in column {shown([name])}; fill it in or leave the row out, or {naming.without(name)}"
    point = "; write it with a point" if is_number(word.replace(",", ".")) else ""
    return f"column {shown([name])} holds {ascii(word[:40])}, which is no finite number{point}; {naming.without(name)}"


@dataclass(frozen=True)
class _JsonTable:
    """Rows of a file of JSON lines: one value for each name of the first line."""

    path: Path
    columns: dict[str, list[Any]]
    lines: list[int]

    def values(self, name: str) -> list[Any]:
        """Give the values of a column; null is none."""
        for line, value in zip(self.lines, self.columns[name], strict=True):
            if value is None:
                raise DataError(f"{self.path}, line {line}: no {shown([name])}; fill it in, or leave the row out.")
        return self.columns[name]

    def _each(self, name: str, fits: Callable[[Any], bool], what: str, way: str = "") -> list[Any]:
        for line, value in zip(self.lines, self.values(name), strict=True):
            if not fits(value):
                raise DataError(
                    f"{self.path}, line {line}: {shown([name])} holds {ascii(value)[:40]}, which is no {what}{way}."
                )
        return self.columns[name]

    def texts(self, name: str, *, numbers: bool) -> list[str]:
        """Give texts; whole numbers pass as names of groups and domains."""

        def fits(value: Any) -> bool:
            whole = numbers and isinstance(value, int) and not isinstance(value, bool)
            return whole or (isinstance(value, str) and bool(value.strip() or not numbers))

        return [str(value) for value in self._each(name, fits, "name" if numbers else "text")]

    def numbers(self, name: str, naming: Naming) -> np.ndarray:
        """Give finite numbers."""

        def fits(value: Any) -> bool:
            return isinstance(value, (int, float)) and abs(value) < 1e308 and math.isfinite(value)

        values = self._each(name, fits, "finite number", f"; {naming.without(name)}")
        return np.array([float(value) for value in values])


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object whose names are there once."""
    row = dict(pairs)
    if len(row) < len(pairs):
        raise ValueError("a name is there twice")
    return row


def _json_table(content: bytes, path: Path, minded: set[str] | None) -> _JsonTable:
    """Read objects of the names of the first; ``minded`` are those that no later line may add, None all."""
    table = _JsonTable(path, {}, [])
    for number, line in enumerate(decode_lines(content, "utf-8", path.name), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line, object_pairs_hook=_once)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}, line {number}: no JSON ({error}); each line holds one whole object.") from error
        if not isinstance(row, dict):
            raise DataError(f"{path}, line {number}: a JSON {type(row).__name__} where an object is needed.")
        if not table.lines:
            table.columns.update({name: [] for name in row})
        if late := [name for name in row if name not in table.columns and (minded is None or name in minded)]:
            raise DataError(
                f"{path}, line {number}: the name {shown(late[:1])} is not in line {table.lines[0]}; give every line "
                "the same names, null where there is no value."
            )
        for name, column in table.columns.items():
            column.append(row.get(name))
        table.lines.append(number)
    if not table.lines:
        raise DataError(f"{path} is empty.")
    return table
