"""Delimited text tables and plain lines, with the line of the file in every complaint."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from pipeline.data.errors import DataError

DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t"}
"""Word of ``data.path.delimiter`` to character."""
LONGEST_CELL = 2**31 - 1
"""Characters; Python's own limit of 131,072 is shorter than some texts."""


@dataclass(frozen=True)
class TextTable:
    """A table as read.

    Attributes
    ----------
    columns : dict of str to list of str
        Column name to its cells, in the order of the file.
    lines : list of int
        Line of the file, counted from 1, on which each row begins.
    """

    columns: dict[str, list[str]]
    lines: list[int]


def delimiter_of(content: bytes) -> str:
    """Give the character that separates the names in a table's first line: the one of which it holds most.

    What stands between quotation marks does not count; without any, a comma.

    Examples
    --------
    >>> delimiter_of(b"id;weight, in kg;label")
    ';'
    """
    start = content.removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n").partition(b"\n")[0]
    line = re.sub(r'"[^"]*"', "", start.decode("utf-8", "replace"))
    return max((",", ";", "\t"), key=line.count)


def decode_lines(content: bytes, encoding: str, name: str) -> list[str]:
    """Decode text line by line, so that a wrong encoding is reported with its line.

    Raises
    ------
    DataError
        With the number of the first line that is not valid in the encoding, or if carriage returns alone end the
        lines, as on Macs before 2001.
    """
    if b"\r" in content and b"\n" not in content:
        raise DataError(
            f"{name} ends its lines with carriage returns alone; write it anew with line feeds, such as by "
            r"`tr '\r' '\n' < OLD > NEW`."
        )
    lines = content.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    if lines and not lines[-1]:
        lines.pop()
    if 3 * content.count(b"\0") > len(content):  # a few of them are characters of a text
        raise DataError(f"{name}, line 1: every other byte is zero, as in UTF-16; save the file as {encoding}.")
    decoded = []
    for number, line in enumerate(lines, 1):
        try:
            decoded.append(line.removesuffix(b"\r").decode(encoding))
        except UnicodeDecodeError as error:
            raise DataError(
                f"{name}, line {number}: not valid {encoding} ({error.reason} at byte {error.start}); save the file as "
                f"{encoding}."
            ) from error
    return decoded


def parse_table(
    content: bytes,
    columns: Sequence[str] | None,
    *,
    encoding: str,
    delimiter: str,
    name: str,
    quotes: bool = True,
    one_line: bool = False,
    whole: Sequence[str] = (),
) -> TextTable:
    """Decode a delimited text table into lists of strings.

    Blank lines at the end are no rows; everywhere else each line belongs to a row, or the file is refused.

    Parameters
    ----------
    content : bytes
        The file.
    columns : sequence of str or None
        Column names of a file without header; None reads them from the first row.
    encoding, delimiter : str
        How the file is written.
    name : str
        The file's name for messages.
    quotes : bool
        Whether quotation marks hold cells together (CoLA's files contain bare ones).
    one_line : bool
        Refuse cells that go over several lines.
    whole : sequence of str
        Columns of labels: they tell whether a quoted cell of several lines has swallowed rows.

    Raises
    ------
    DataError
        With the line of the first row that has another number of fields, holds a stray quotation mark, or swallows
        the rows after it.
    """
    lines = decode_lines(content, encoding, name)
    while lines and not lines[-1].strip():
        lines.pop()
    if not lines:
        raise DataError(f"{name} is empty.")
    names = list(columns) if columns is not None else None
    table, begins = TextTable({}, []), 1
    if names is not None:
        table.columns.update({column: [] for column in names})
    # The authors' Sentiment140 files predate strict quoting; their rows are one line each, which is checked instead.
    spans: list[tuple[int, int]] = []
    reader = csv.reader(
        (line + "\n" for line in lines),
        delimiter=delimiter,
        quoting=csv.QUOTE_MINIMAL if quotes else csv.QUOTE_NONE,
        strict=quotes and not one_line,
    )
    for fields in _rows(reader, name):
        first, begins = begins, reader.line_num + 1
        if names is None:
            names = _header(fields, delimiter, name)
            table.columns.update({column: [] for column in names})
            continue
        if reader.line_num > first:
            spans.append((first, reader.line_num))
        if len(fields) != len(names):
            found = f"{len(fields)} field{'s' * (len(fields) > 1)}" if fields else "a blank line"
            be = "are" if len(names) > 1 else "is"
            _check_cells(lines, [(first, reader.line_num)], table, delimiter, one_line, whole, name)
            raise DataError(f"{name}, line {first}: {found} where {len(names)} {be} expected.")
        for column, value in zip(table.columns.values(), fields, strict=True):
            column.append(value)
        table.lines.append(first)
    _check_cells(lines, spans, table, delimiter, one_line, whole, name)
    return table


@contextmanager
def _long_cells() -> Iterator[None]:
    before = csv.field_size_limit(LONGEST_CELL)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _rows(reader: "csv._reader", name: str) -> Iterator[list[str]]:
    ended = 0
    while True:
        try:
            with _long_cells():
                fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if "unexpected end" in str(error):
                raise DataError(
                    f"{name}, line {ended + 1}: a quotation mark in the row that begins here is never closed; double "
                    "it inside a quoted cell, or take it out."
                ) from error
            if "new-line character" in str(error):
                raise DataError(
                    f"{name}, line {reader.line_num}: a carriage return inside the line, outside quotation marks; end "
                    "all lines alike."
                ) from error
            raise DataError(f"{name}, line {reader.line_num}: {error} (a stray quotation mark?).") from error
        ended = reader.line_num
        yield fields


def _header(fields: list[str], delimiter: str, name: str) -> list[str]:
    twice = sorted({field for field in fields if fields.count(field) > 1})
    if twice:
        raise DataError(f"{name} has more than one column of the name {', '.join(map(repr, twice))}.")
    if len(fields) == 1:
        for word, other in DELIMITERS.items():
            if other != delimiter and other in fields[0]:
                raise DataError(
                    f"{name}, line 1: {fields[0][:80]!r} is one column; with data.path.delimiter={word} it is "
                    f"{fields[0].count(other) + 1}."
                )
    return fields


def _check_cells(
    lines: list[str],
    spans: list[tuple[int, int]],
    table: TextTable,
    delimiter: str,
    one_line: bool,
    whole: Sequence[str],
    name: str,
) -> None:
    """Refuse a cell of several lines whose lines, but for the last, look like rows of their own."""
    names = list(table.columns)
    places = {names.index(column): set(table.columns[column]) for column in whole if column in names}
    for first, last in spans:
        swallowed = 0
        for line in lines[first - 1 : last - 1]:
            fields = line.split(delimiter)
            fits = len(fields) == len(names) and places
            swallowed += bool(fits and all(_is_label(fields[place], known) for place, known in places.items()))
        if swallowed or (one_line and last > first):
            raise DataError(
                f"{name}, line {first}: a quoted cell goes on for {last - first + 1} lines"
                + ", which look like rows" * bool(swallowed)
                + "; a quotation mark is stray. Double it inside a quoted cell, or take it out."
            )


def _is_label(cell: str, known: set[str]) -> bool:
    """Whether a cell holds a whole number or a label of another row."""
    word = cell.strip().strip('"')
    return word in known or re.fullmatch(r"-?\d+(\.0*)?", word) is not None
