"""The numbers of one artifact: its metrics, and those in its tables, each with words that say what it is."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from pipeline.engine.artifacts import Artifact
from pipeline.engine.inventory.record import Record
from pipeline.errors import UserError
from pipeline.machine.progress import say

if TYPE_CHECKING:
    import pyarrow as pa

METRICS = "metrics"
_NO_RESULTS = {"prepare"}
"""Stages whose tables hold data."""
_MOST_ROWS = 10_000
_LONGEST_WORD = 60
"""Characters of a text in a table that may say which row it is; a longer one is a note, or a row of the data."""


class Number(NamedTuple):
    """One number of an artifact.

    Attributes
    ----------
    table : str
        ``metrics``, or the name of the Parquet file without its ending.
    row : int or None
        Row of the table, from 0.
    entry : str
        The words of that row: ``metric=tau, subset=test``.
    quantity : str
        Column of the table or name of the metric; parts of nested ones are joined by ``/``.
    value : float
        The number; truth values are 0 and 1.
    """

    table: str
    row: int | None
    entry: str
    quantity: str
    value: float


def numbers_of(record: Record, tables: bool = True) -> Iterator[Number]:
    """Yield every number of an artifact, its metrics first.

    Parameters
    ----------
    record : Record
        Of the artifact; its metrics need no look-up.
    tables : bool
        Whether to read its Parquet tables too. Those of ``prepare`` hold data; one of more than 10,000 rows is left
        out and named.
    """
    for quantity, value in scalars(record.metrics):
        yield Number(METRICS, None, "", quantity, value)
    if not tables or record.stage in _NO_RESULTS:
        return
    artifact = Artifact(record.folder) if record.tables else None
    for name in record.tables:
        if artifact is not None and not name.endswith("texts.parquet"):
            try:
                yield from _of_table(name.removesuffix(".parquet"), _read(artifact, name))
            except UserError as error:
                say(f"left out: {error}")


def _read(artifact: Artifact, name: str) -> pa.Table:
    import pyarrow.parquet as pq

    file = pq.ParquetFile(artifact.path(name))
    if file.metadata.num_rows > _MOST_ROWS:
        raise UserError(f"{artifact.folder / name} has {file.metadata.num_rows} rows, and results take {_MOST_ROWS}.")
    return file.read(use_threads=False)


def _of_table(name: str, table: pa.Table) -> Iterator[Number]:
    for place, row in enumerate(table.to_pylist()):
        words = [(column, text) for column, text in row.items() if isinstance(text, str)]
        entry = ", ".join(f"{column}={text}" for column, text in words if text and len(text) <= _LONGEST_WORD)
        for quantity, value in scalars(row):
            yield Number(name, place, entry, quantity, value)


def scalars(values: Any, prefix: str = "") -> Iterator[tuple[str, float]]:
    """Flatten mappings and lists to their numbers, names joined by ``/`` and places in brackets.

    Examples
    --------
    >>> list(scalars({"loss": 0.5, "levels": {"a": [1, 2.5]}, "note": "words", "sound": True}))
    [('loss', 0.5), ('levels/a[0]', 1.0), ('levels/a[1]', 2.5), ('sound', 1.0)]
    """
    if isinstance(values, (bool, int, float)):
        yield prefix, float(values) if abs(values) < 1e308 or values != values else math.copysign(math.inf, values)
    elif isinstance(values, Mapping):
        for name, value in values.items():
            yield from scalars(value, f"{prefix}/{name}" if prefix else str(name))
    elif isinstance(values, (list, tuple)):
        for place, value in enumerate(values):
            yield from scalars(value, f"{prefix}[{place}]")
