"""Write a table where ``out`` says: CSV, Parquet or LaTeX by the file's ending, or the terminal."""

from __future__ import annotations

import contextlib
import csv
import datetime
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import UserError
from pipeline.machine.folders import user_path
from pipeline.machine.progress import say
from pipeline.shown_text import visible

if TYPE_CHECKING:
    import pyarrow as pa

_ON_SCREEN = 200
"""Rows that a terminal shows; a pipe gets all of them."""
_WIDEST = 60
"""Characters of a cell on a terminal."""
_TEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
_TEX |= {mark: f"\\{mark}" for mark in "&%$#_{}"}


def kind_of(out: str) -> str:
    """Give the ending of a file that a table can be written to.

    Raises
    ------
    UserError
        If it is none of those.
    """
    ending = Path(out).suffix.lower()
    if ending not in (".csv", ".parquet", ".tex"):
        raise UserError(f"out={out} does not say how to write a table: end it with .csv, .parquet or .tex.")
    return ending


def put(table: pa.Table, out: str | None) -> None:
    """Write a table to a file in one step, or show it.

    Parameters
    ----------
    table : pyarrow.Table
        The table.
    out : str or None
        A file by whose ending the format is chosen; None for the terminal.

    Raises
    ------
    UserError
        If the ending is none of ``.csv``, ``.parquet`` and ``.tex``, or the file cannot be written.
    """
    if out is None:
        _show(table)
        return
    ending, path = kind_of(out), user_path(out)
    new = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if ending == ".parquet":
            import pyarrow.parquet as pq

            pq.write_table(table, new, compression="zstd")
        else:
            new.write_text(as_csv(table) if ending == ".csv" else as_latex(table), encoding="utf-8", newline="")
        new.replace(path)
    except OSError as error:
        reason = error.strerror or error
        raise UserError(
            f"out={out} cannot be written ({reason}): name a file in a folder that you can write to."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            new.unlink(missing_ok=True)
    say(f"done: {path} ({table.num_rows} rows)")


def rows_of_text(table: pa.Table, digits: int | None = None) -> list[list[str]]:
    """Write every cell as text; numbers with some significant digits, or all of them."""
    columns = [[_text(value, digits) for value in column.to_pylist()] for column in table.columns]
    return [list(row) for row in zip(*columns, strict=True)]


def _text(value: Any, digits: int | None) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        whole = value.is_integer() and abs(value) < 1e15
        return str(int(value)) if whole else repr(value) if digits is None else f"{value:.{digits}g}"
    if isinstance(value, datetime.datetime):
        return value.strftime("%Y-%m-%d %H:%M:%SZ")
    return str(value)


def as_csv(table: pa.Table) -> str:
    """Write a table as CSV with a line of names; every number with all its digits.

    Examples
    --------
    >>> import pyarrow as pa
    >>> print(as_csv(pa.table({"stage": ["train"], "value": [0.5]})), end="")
    stage,value
    train,0.5
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(table.column_names)
    writer.writerows(rows_of_text(table))
    return stream.getvalue()


def as_latex(table: pa.Table) -> str:
    r"""Write a table in LaTeX (``booktabs``), four significant digits.

    Examples
    --------
    >>> import pyarrow as pa
    >>> print(as_latex(pa.table({"data_set": ["a & b"], "value": [0.123456]})), end="")
    \begin{tabular}{lr}
    \toprule
    data\_set & value \\
    \midrule
    a \& b & 0.1235 \\
    \bottomrule
    \end{tabular}
    """
    import pyarrow as pa

    sides = "".join(
        "r" if pa.types.is_floating(kind) or pa.types.is_integer(kind) else "l" for kind in table.schema.types
    )
    lines = [f"\\begin{{tabular}}{{{sides}}}", "\\toprule", _tex_row(table.column_names), "\\midrule"]
    lines += [_tex_row(row) for row in rows_of_text(table, 4)]
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}", ""])


def _tex_row(cells: Sequence[str]) -> str:
    words = ("".join(_TEX.get(mark, mark) for mark in " ".join(cell.split())) for cell in cells)
    return f"{' & '.join(words)} \\\\"


def _show(table: pa.Table) -> None:
    """Print a table with aligned columns; plain lines, so that ``grep`` and ``sort`` can read them."""
    import pyarrow as pa

    rows = table.num_rows if not sys.stdout.isatty() else min(table.num_rows, _ON_SCREEN)
    right = [pa.types.is_floating(kind) or pa.types.is_integer(kind) for kind in table.schema.types]
    body = [[_cut(visible(cell)) for cell in row] for row in rows_of_text(table.slice(0, rows), 6)]
    used = [place for place in range(table.num_columns) if any(row[place] for row in body)]
    lines = [list(table.column_names), *body]
    widths = {place: max(len(line[place]) for line in lines) for place in used}
    for line in lines:
        cells = (line[i].rjust(widths[i]) if right[i] else line[i].ljust(widths[i]) for i in used)
        print("  ".join(cells).rstrip())
    if rows < table.num_rows:
        print(f"and {table.num_rows - rows} more rows: out=FILE.csv writes all, select narrows them down")


def _cut(text: str) -> str:
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 1]}…"
