"""From a table as delivered to canonical columns: renaming, decoding, label mapping."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from pipeline.data.errors import DataError
from pipeline.data.records import Columns, take
from pipeline.data.sources.formats import decode_images

NEEDED = {"image": ("image", "label"), "text": ("text", "label")}
OPTIONAL = {"image": (), "text": ("domain", "group")}


def columns_from_table(table: Any, kind: str, rename: Mapping[str, str], split: str) -> Columns:
    """Convert an Arrow table, such as ``datasets`` writes, to canonical columns.

    Parameters
    ----------
    table : pyarrow.Table
        Images are structs with ``bytes`` (``datasets.Image``) or plain binary.
    kind : {"image", "text"}
        What the rows are.
    rename : mapping
        Delivered column name to ours.
    split : str
        For messages; also the domain of texts that have none.

    Raises
    ------
    DataError
        If a needed column is missing, or a row has no value or cannot be decoded.
    """
    named = {rename.get(name, name): table[name] for name in table.column_names}
    missing = [name for name in NEEDED[kind] if name not in named]
    if missing:
        raise DataError(
            f"split {split!r} has no column {', '.join(missing)}; it has {', '.join(table.column_names)}. "
            "Map names with `rename`, such as '{img: image}'."
        )
    columns: Columns = {}
    for name in (*NEEDED[kind], *(name for name in OPTIONAL[kind] if name in named)):
        values = named[name].to_pylist()
        if None in values:
            raise DataError(f"split {split!r}, column {name!r}, row {values.index(None)}: no value.")
        if name == "image":
            encoded = [value["bytes"] if isinstance(value, dict) else value for value in values]
            columns[name] = decode_images(encoded, f"split {split!r}")
        elif name == "label":
            columns[name] = integer_labels(np.asarray(values), split)
        else:
            columns[name] = [str(value) for value in values]
    if kind == "text":
        columns.setdefault("domain", [split] * len(columns["text"]))
    return columns


def integer_labels(values: np.ndarray, split: str) -> np.ndarray:
    """Check that labels are whole numbers, one per row.

    Raises
    ------
    DataError
        If they are one-hot, fractional or not numeric.
    """
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1 or not np.issubdtype(values.dtype, np.number):
        raise DataError(f"split {split!r} has labels of shape {values.shape} and type {values.dtype}, not integers.")
    whole = values.astype(np.int64)
    if (whole != values).any():
        raise DataError(f"split {split!r}: label {values[whole != values][0]} is not an integer.")
    return whole


def map_labels(columns: Columns, label_map: Mapping[int, int], split: str, drops: dict[str, int]) -> Columns:
    """Replace labels; rows whose label is not in the map are dropped and counted, never remapped.

    An empty map keeps everything.
    """
    if not label_map or "label" not in columns:
        return columns
    known = np.isin(columns["label"], list(label_map))
    if not known.all():
        drops[f"label outside the map ({split})"] = int((~known).sum())
        columns = take(columns, np.flatnonzero(known))
    mapped = [label_map[label] for label in columns["label"].tolist()]
    return {**columns, "label": np.array(mapped, dtype=np.int64)}
