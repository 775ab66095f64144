"""From a table as delivered to canonical columns: naming, decoding, and one type per column."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.config.data import ReadConfig
from pipeline.data.errors import DataError
from pipeline.data.labels import read_labels
from pipeline.data.records import Columns, n_rows
from pipeline.data.sources.pictures import decode_images, same_channels
from pipeline.data.sources.reading import NEEDED, OPTIONAL, Naming, shown
from pipeline.machine.progress import say


def columns_from_table(
    table: Any,
    kind: str,
    naming: Naming,
    where: str,
    *,
    read: ReadConfig,
    files: bool = False,
) -> Columns:
    """Convert an Arrow table, such as ``datasets`` writes, to canonical columns.

    Parameters
    ----------
    table : pyarrow.Table
        Images are structs with ``bytes`` (``datasets.Image``) or plain binary.
    kind : {"image", "text", "vector"}
        What the rows are.
    naming : Naming
        Which column is which of ours.
    where : str
        File and split, for messages.
    read : ReadConfig
        How labels and images are taken.
    files : bool
        Whether an image may be the path of a file (a folder of images that ``datasets`` reads).

    Raises
    ------
    DataError
        If a needed column is missing, or a row has no value, one of another type, or cannot be decoded.
    """
    twice = {name for name in table.column_names if table.column_names.count(name) > 1}
    if twice:
        raise DataError(f"{where} has more than one column of the name {shown(twice)}.")
    delivered = {name: table[name] for name in table.column_names}
    if kind == "vector":

        def labels(name: str) -> np.ndarray:
            at = f"{where}, column {name!r}"
            _refuse_nulls(delivered[name], at)
            return read_labels([value for _, value in _rows(delivered[name], at)], read.labels, where)

        def numbers(name: str) -> np.ndarray:
            return _numbers(delivered[name], name, naming, where)

        return vector_columns(list(delivered), naming, where, numbers, labels)
    named = naming.named(delivered, where)
    missing = [name for name in NEEDED[kind] if name not in named]
    if missing:
        raise DataError(
            f"{where} has no column {', '.join(missing)}; it has {shown(delivered) or 'none at all'}."
            + f" {naming.way(kind, list(delivered))}" * bool(delivered)
        )
    unread = [name for name in OPTIONAL["text"] if name in named and name not in OPTIONAL[kind]]
    if unread:
        say(f"note: {where}: {shown(unread)} is read for texts only, and these rows are of kind {kind}")
    columns: Columns = {}
    for name in (*NEEDED[kind], *(name for name in OPTIONAL[kind] if name in named)):
        at = f"{where}, column {name!r}"
        _refuse_nulls(named[name], at)
        if name == "image":
            encoded = [_encoded(value, f"{where}, row {row}", files) for row, value in _rows(named[name], at)]
            columns[name] = decode_images(encoded, where, read)
        elif name == "label":
            columns[name] = read_labels([value for _, value in _rows(named[name], at)], read.labels, where)
        else:
            columns[name] = text_column(named[name], at, numbers=name != "text")
    return columns


def vector_columns(
    names: Sequence[str],
    naming: Naming,
    where: str,
    numbers: Callable[[str], np.ndarray],
    labels: Callable[[str], np.ndarray],
) -> Columns:
    """Put the columns of numbers of one table side by side: ``x``, and either ``y`` or ``label``.

    Parameters
    ----------
    names : sequence of str
        Columns of the table.
    naming : Naming
        Which of them are the vector, the targets and the label.
    where : str
        File and split, for messages.
    numbers, labels : callable
        From the name of a column to its finite numbers, and to its labels, one for each row.

    Raises
    ------
    DataError
        If a column is not there, or there is neither label nor target.
    """
    x, y, label = naming.numbers(names, where)
    columns: Columns = {"x": np.stack([numbers(name) for name in x], axis=1)}
    if y:
        return {**columns, "y": np.stack([numbers(name) for name in y], axis=1)}
    return {**columns, "label": labels(str(label))}


def _numbers(column: Any, name: str, naming: Naming, where: str) -> np.ndarray:
    """Finite numbers of an Arrow column as float64."""
    import pyarrow as pa

    kind = column.type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
        raise DataError(f"{where}, column {name!r} has type {kind}, not numbers; {naming.without(name)}.")
    way = f"; fill it in or leave the row out, or {naming.without(name)}"
    _refuse_nulls(column, f"{where}, column {name!r}", way)
    values = np.asarray(column.to_numpy(), dtype=np.float64)
    if not np.isfinite(values).all():
        row = int((~np.isfinite(values)).argmax())
        raise DataError(f"{where}, column {name!r}, row {row}: {values[row]} is no finite number{way}.")
    return values


def _refuse_nulls(column: Any, where: str, way: str = "; fill it in, or leave the row out") -> None:
    if column.null_count:
        row = column.is_null().to_pylist().index(True)
        raise DataError(f"{where}, row {row}: no value{way}.")


def text_column(column: Any, where: str, *, numbers: bool) -> list[str]:
    """Texts of an Arrow column: strings, or bytes in UTF-8.

    Parameters
    ----------
    column : pyarrow.ChunkedArray
        Without missing values.
    where : str
        File, split and column, for messages.
    numbers : bool
        Whether whole numbers pass as names (of groups and domains).

    Raises
    ------
    DataError
        With the type of a column that holds no texts, or the row that is not UTF-8.
    """
    import pyarrow as pa

    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if numbers and pa.types.is_integer(kind):
        return [str(value) for value in column.to_pylist()]
    if kind in (pa.string(), pa.large_string(), pa.string_view()):
        column = column.cast(pa.large_string()).cast(pa.large_binary())  # damaged UTF-8 passes, and is found below
    elif kind not in (pa.binary(), pa.large_binary(), pa.binary_view()):
        raise DataError(f"{where} has type {column.type}, not text.")
    texts = []
    for row, content in enumerate(column.to_pylist()):
        try:
            texts.append(content.decode())
        except UnicodeDecodeError as error:
            raise DataError(f"{where}, row {row}: not valid UTF-8 ({error.reason} at byte {error.start}).") from error
        if numbers and not texts[-1].strip():
            raise DataError(f"{where}, row {row}: no value.")
    return texts


def join_shards(parts: Sequence[Columns], paths: Sequence[Path], split: str) -> Columns:
    """Put the rows of a split's files one after another.

    Raises
    ------
    DataError
        If the files have other columns or shapes than the first one; nothing is dropped to make them fit.
    """
    for part, path in zip(parts[1:], paths[1:], strict=True):
        _refuse_odd_columns(part, parts[0], f"split {split!r}: ", paths[0], path)
    held = [(part, path) for part, path in zip(parts, paths, strict=True) if n_rows(part)] or [(parts[0], paths[0])]
    parts, paths = [part for part, _ in held], [path for _, path in held]  # files without rows have no type
    if "image" in parts[0]:
        images = same_channels([part["image"] for part in parts])
        parts = [{**part, "image": image} for part, image in zip(parts, images, strict=True)]
    first = parts[0]
    for part, path in zip(parts[1:], paths[1:], strict=True):
        pair = f"split {split!r}: {paths[0]} and {path}"
        for name in first:
            if isinstance(first[name], np.ndarray) and first[name].shape[1:] != part[name].shape[1:]:
                resize = f" 'data.read.resize={list(first[name].shape[2:])}' scales images to one size."
                raise DataError(
                    f"{pair} differ in column {name!r}: rows of shape {first[name].shape[1:]} and "
                    f"{part[name].shape[1:]}.{resize.replace(', ', ',') * (name == 'image')}"
                )
            if isinstance(first[name], np.ndarray) and first[name].dtype != part[name].dtype:
                raise DataError(f"{pair} differ: {name} holds words in one and numbers in the other.")
    if len(parts) == 1:
        return first
    return {
        name: np.concatenate([part[name] for part in parts])
        if isinstance(first[name], np.ndarray)
        else [value for part in parts for value in part[name]]
        for name in first
    }


def _refuse_odd_columns(part: Columns, first: Columns, split: str, path: Path, other: Path) -> None:
    odd = sorted(set(part) ^ set(first))
    if odd:
        has = path if odd[0] in first else other
        raise DataError(
            f"{split}{path} and {other} differ: only {has} has the column {odd[0]!r}. Give it to all or to none."
        )


def _rows(column: Any, where: str) -> Iterable[tuple[int, Any]]:
    """Row numbers and values of an Arrow column, whose strings may be damaged."""
    try:
        return list(enumerate(column.to_pylist()))
    except (UnicodeDecodeError, ValueError, OverflowError) as error:
        raise DataError(f"{where} holds values that cannot be read: {error}.") from error


def _encoded(value: Any, where: str, files: bool) -> bytes | Path:
    """Bytes of one image file, or where it lies."""
    content = value.get("bytes") if isinstance(value, dict) else value
    if isinstance(content, bytes):
        return content
    path = value.get("path") if isinstance(value, dict) else None
    if files and path:
        return Path(path)
    what = "a path alone" if path or isinstance(value, str) else f"a {type(value).__name__}"
    raise DataError(f"{where}: the image cannot be decoded: {what} where the bytes of an image file are needed.")
