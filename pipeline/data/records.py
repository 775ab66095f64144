"""The canonical form of a data set: named splits of images, texts or vectors, with a content fingerprint.

Stored as safetensors (images ``uint8`` N×C×H×W with ``int64`` labels; vectors ``float64``) or Parquet
(``text``, ``label``, ``domain`` and optionally ``group``), next to one ``dataset.json`` that describes them.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.data.errors import DataError

KINDS = ("image", "text", "vector")
UNLABELED = -1
"""Label of a row whose class is withheld (GLUE's test splits, plain text files)."""
ARRAYS = "arrays.safetensors"
DESCRIPTION = "dataset.json"
CONSTANT = "constant"
"""Prefix of the stored constants; no split may have this name."""

Columns = dict[str, Any]
"""One split: column name to array (images, labels, x, y) or list of strings (text, domain, group)."""


@dataclass
class Records:
    """All splits of one data set as its source delivers them, after loading, renaming and label mapping.

    Attributes
    ----------
    kind : str
        ``image``: ``image`` uint8 (n, c, h, w) and ``label`` int64 (n,); ``text``: lists ``text``, ``domain``,
        optionally ``group``, and ``label``; ``vector``: ``x`` float64 (n, d) and either ``y`` float64 (n, k)
        or ``label``.
    splits : dict
        Split name to columns.
    class_names : list of str
        Empty where classes have no names.
    drops : dict
        Rule to number of rows that it removed.
    licence, source : str
        Terms of use, and where the rows come from.
    constants : dict of str to ndarray
        Arrays that belong to no row, such as the directions of a teacher; stored with vectors only.
    """

    kind: str
    splits: dict[str, Columns]
    class_names: list[str] = field(default_factory=list)
    drops: dict[str, int] = field(default_factory=dict)
    licence: str = "unknown"
    source: str = ""
    constants: dict[str, np.ndarray] = field(default_factory=dict)

    def counts(self) -> dict[str, int]:
        """Rows of every split."""
        return {name: n_rows(columns) for name, columns in self.splits.items()}


def n_rows(columns: Columns) -> int:
    """Count the rows of one split."""
    return len(next(iter(columns.values())))


def take(columns: Columns, rows: np.ndarray) -> Columns:
    """Select rows of every column, by index."""
    return {
        name: values[rows] if isinstance(values, np.ndarray) else [values[row] for row in rows]
        for name, values in columns.items()
    }


def label_histogram(columns: Columns) -> dict[str, int]:
    """Rows of every class of one split; empty for regression targets."""
    if "label" not in columns:
        return {}
    values, counts = np.unique(columns["label"], return_counts=True)
    return {str(value): int(count) for value, count in zip(values, counts, strict=True)}


def fingerprint(records: Records) -> str:
    """SHA-256 of schema, names and rows: equal content gives equal fingerprints, independent of where its files are.

    Splits and columns enter in sorted order; an array by dtype, shape and bytes, a list of strings by the
    lengths and the UTF-8 bytes of its items.
    """
    digest = hashlib.sha256(f"seedscope-data-1 {records.kind}".encode())
    for name, columns in sorted(records.splits.items()):
        digest.update(f"\nsplit {name}".encode())
        for column, values in sorted(columns.items()):
            if isinstance(values, np.ndarray):
                digest.update(f"\n{column} {values.dtype.str} {values.shape} ".encode())
                digest.update(np.ascontiguousarray(values).data)
            else:
                encoded = [value.encode() for value in values]
                digest.update(f"\n{column} text {len(encoded)} ".encode())
                digest.update(np.array([len(item) for item in encoded], dtype="<i8").tobytes())
                digest.update(b"".join(encoded))
    for name, constant in sorted(records.constants.items()):
        digest.update(f"\nconstant {name} {constant.dtype.str} {constant.shape} ".encode())
        digest.update(np.ascontiguousarray(constant).data)
    return digest.hexdigest()


def save_records(records: Records, folder: Path, description: dict[str, Any]) -> None:
    """Write the canonical files of a data set into an existing folder."""
    if records.kind == "text":
        import pyarrow as pa
        import pyarrow.parquet as pq

        for name, columns in records.splits.items():
            pq.write_table(pa.table(columns), folder / f"{name}.parquet", compression="zstd")
    else:
        from kernels.machine.tensor_files import save_arrays

        arrays = {
            f"{name}.{column}": np.ascontiguousarray(values)
            for name, columns in records.splits.items()
            for column, values in columns.items()
        }
        arrays |= {f"{CONSTANT}.{name}": np.ascontiguousarray(v) for name, v in records.constants.items()}
        save_arrays(arrays, folder / ARRAYS)
    (folder / DESCRIPTION).write_text(json.dumps(description, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def read_description(folder: Path) -> dict[str, Any]:
    """Read what ``prepare_dataset`` said about a stored data set."""
    path = folder / DESCRIPTION
    if not path.exists():
        raise DataError(f"{folder} holds no prepared data set ({DESCRIPTION} is missing); run `stage=prepare` first.")
    return json.loads(path.read_text(encoding="utf-8"))


def load_records(folder: Path) -> tuple[Records, dict[str, Any]]:
    """Read a stored data set back, with its description."""
    described = read_description(folder)
    splits: dict[str, Columns] = {name: {} for name in described["splits"]}
    constants: dict[str, np.ndarray] = {}
    if described["kind"] == "text":
        import pyarrow.parquet as pq

        for name in splits:
            table = pq.read_table(folder / f"{name}.parquet")
            for column in table.column_names:
                values = table[column]
                splits[name][column] = values.to_numpy().copy() if column == "label" else values.to_pylist()
    else:
        from safetensors.numpy import load_file

        for key, values in load_file(folder / ARRAYS).items():
            name, column = key.rsplit(".", 1)
            (constants if name == CONSTANT else splits[name])[column] = values
    records = Records(
        described["kind"],
        splits,
        described["class_names"],
        described["drops"],
        described["licence"],
        described["source"],
        constants,
    )
    return records, described
