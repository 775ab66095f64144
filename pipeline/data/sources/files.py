"""The user's own files: one reader per published file format."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.config.data import PathConfig, ReadConfig
from pipeline.data.errors import ContentMismatch, DataError
from pipeline.data.labels import map_labels, number_words, read_labels
from pipeline.data.records import Columns, Records, n_rows
from pipeline.data.sources.columns import columns_from_table, join_shards
from pipeline.data.sources.content_format import file_format
from pipeline.data.sources.formats import npz_names, parse_cifar_binary, read_idx, read_npz
from pipeline.data.sources.identity import idx_labels, split_files
from pipeline.data.sources.image_folders import read_image_folder
from pipeline.data.sources.pictures import fit_arrays
from pipeline.data.sources.reading import NEEDED, Naming, Reading, columns_way
from pipeline.data.sources.sizes import SMALL, read_whole, refuse_too_large
from pipeline.data.sources.text_files import read_cola, read_csv, read_json_lines, read_lines, read_sentiment140
from pipeline.machine.content_digest import content_of

SENTIMENT140_LABELS = {0: 0, 4: 1}
PARQUET_MAGIC = b"PAR1"
PACKED_MAGIC = (b"\x1f\x8b", b"PK\x03\x04", b"BZh", b"\xfd7zX", b"\x28\xb5\x2f\xfd")
"""First bytes of gzip, zip, bzip2, xz and zstd files."""

Reader = Callable[[Path, Reading], Columns]
"""From a file to canonical columns; labels that are to be numbered later stay as delivered."""


def load_path(
    config: PathConfig, kind: str, read: ReadConfig | None = None, columns: Mapping[str, Any] | None = None
) -> Records:
    """Read every configured file.

    Parameters
    ----------
    config : PathConfig
        Files per split, their format, expected hashes, renaming and label map.
    kind : {"image", "text", "vector"}
        What the rows are.
    read : ReadConfig, optional
        How labels and images are taken.
    columns : mapping, optional
        ``data.columns``: our names to those of the files.

    Raises
    ------
    ContentMismatch
        If a split's files do not have the expected SHA-256; they are left where they are.
    DataError
        If the format is unknown or does not hold rows of this kind, a row is damaged, or files do not fit together.
    """
    if config.format is not None:
        _reader(config.format, kind)
    read, naming = read or ReadConfig(), Naming(columns or {}, config.rename)
    splits: dict[str, Columns] = {}
    drops: dict[str, int] = {}
    names: list[str] = []
    for split, paths in split_files(config).items():
        if split in config.sha256:
            _check_content(split, paths, config.sha256[split])
        reading = Reading(kind, split, naming, read, config.delimiter)
        rows = join_shards([_read_file(path, config, reading) for path in paths], paths, split)
        if n_rows(rows) == 0:
            raise DataError(f"{', '.join(map(str, paths))}, split {split!r}: no rows.")
        if kind == "text":
            rows.setdefault("domain", [split] * n_rows(rows))
        label_map = dict(config.label_map)
        if not label_map and file_format(paths[0], config) == "sentiment140_csv":
            label_map = SENTIMENT140_LABELS
        splits[split] = map_labels(rows, label_map, split, drops)
        own = [] if label_map else _own_names(paths, config, naming)
        if names and own and names != own:
            raise DataError(
                f"{paths[0]} calls its classes {', '.join(own)}, and the split before it {', '.join(names)}; number "
                "the classes alike in all files, or write labels as words."
            )
        names = names or own
    names = number_words(splits, read.labels) or names
    files = [f"{path.name} {content_of(path, deep=True)}" for paths in split_files(config).values() for path in paths]
    return Records(kind, splits, names, drops, source=f"path: {', '.join(files)}")


def _reader(form: str, kind: str) -> Reader:
    if form not in READERS:
        raise DataError(f"data.path.format={form} is not one of {', '.join(READERS)}.")
    reader, kinds = READERS[form]
    if kind not in kinds:
        way = f" {_OF_KIND[kinds[0]]} reads such files." if kinds[0] in _OF_KIND else ""
        raise DataError(f"data.path.format={form} holds {' or '.join(kinds)} rows, but data.kind={kind}.{way}")
    return reader


def _read_file(path: Path, config: PathConfig, reading: Reading) -> Columns:
    form = file_format(path, config)
    reader = _reader(form, reading.kind)
    if form == "folder":
        if not path.is_dir():
            raise DataError(
                f"{path} is a file, but data.path.format=folder; data.path.format=null tells by its content."
            )
        return reader(path, reading)
    if path.is_dir():
        raise DataError(f"{path} is a folder, but data.path.format={form}; name a file in it, or a glob of files.")
    with path.open("rb") as stream:
        start = stream.read(4)
    if not start:
        raise DataError(f"{path} is empty.")
    if start == PARQUET_MAGIC and form != "parquet":
        raise DataError(f"{path} is a Parquet file, but data.path.format={form}; data.path.format=parquet reads it.")
    if start.startswith(PACKED_MAGIC) and reading.kind == "text":
        raise DataError(f"{path} is compressed, which {form} is not; unpack it (such as with gunzip or unzip).")
    if form != "csv" and reading.delimiter not in ("comma", "auto"):
        raise DataError(f"{path}: data.path.delimiter is for data.path.format=csv, not for {form}.")
    return reader(path, reading)


def read_parquet(path: Path, reading: Reading) -> Columns:
    """Read a Parquet file with the columns that ``datasets`` writes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as opened:
            held = opened.metadata
            promised = sum(held.row_group(group).total_byte_size for group in range(held.num_row_groups))
            refuse_too_large(max(promised, 16 * held.num_rows), f"{path}, with {held.num_rows} rows,")
            wanted = reading.naming.wanted(reading.kind)
            schema = opened.schema_arrow
            chosen = [name for name in schema.names if name in wanted]
            needed = {reading.naming.theirs(name) for name in NEEDED[reading.kind]}
            if reading.kind == "vector" or any("." in name for name in chosen) or not needed <= set(chosen):
                chosen = schema.names  # a dotted name would be taken for a nested one
            batches, size, asked = [], 0, SMALL
            for batch in opened.iter_batches(batch_size=4096, columns=chosen):
                batches.append(batch)
                size += batch.nbytes
                if size > asked:  # a dictionary of one value can stand for any number of rows
                    refuse_too_large(size, f"{path}, unpacked,")
                    asked = size + SMALL
            table = pa.Table.from_batches(batches) if batches else schema.empty_table()
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} is not a readable Parquet file: {error}") from error
    return columns_from_table(table, reading.kind, reading.naming, reading.where(path), read=reading.read)


def read_npz_file(path: Path, reading: Reading) -> Columns:
    """Read arrays ``image`` (n, h, w[, c]) or (n, c, h, w) with ``label``, or ``x`` with ``y`` or ``label``."""
    where = reading.where(path)
    held = {name: name for name in npz_names(path)}
    named = reading.naming.named(held, where)
    for ours in ("x", "y"):
        theirs = reading.naming.columns.get(ours)
        if isinstance(theirs, list) and len(theirs) == 1:
            theirs = theirs[0]
        if theirs is not None and (isinstance(theirs, list) or theirs not in held):
            raise DataError(
                f"{where}: data.columns.{ours}={theirs} names no array; it is one of {', '.join(map(ascii, held))}."
            )
        if theirs is not None:
            named[ours] = theirs
    wanted = "image" if reading.kind == "image" else "x"
    if wanted not in named or not {"label", "y"} & set(named) or (reading.kind == "image" and "label" not in named):
        needed = "image and label" if reading.kind == "image" else "x and label (or y)"
        free = [name for name in held if name not in ("image", "x", "y", "label")] or ["arr_0"]
        pairs = {name: theirs for name, theirs in zip((wanted, "label"), [*free, "arr_1"], strict=False)}
        pairs = {name: named.get(name, theirs) for name, theirs in pairs.items()}
        raise DataError(
            f"{path} holds {', '.join(map(ascii, held))}; needed are {needed}. {columns_way(pairs)} names them."
        )
    target = "y" if "y" in named and ("label" not in named or "y" in reading.naming.columns) else "label"
    arrays = read_npz(path, {named[wanted], named[target]})
    rows, targets = arrays[named[wanted]], arrays[named[target]]
    for name, array in ((wanted, rows), (target, targets)):
        if array.ndim == 0 or len(array) == 0:
            raise DataError(f"{where}: array {name!r} of shape {array.shape} has no rows.")
    if len(rows) != len(targets):
        raise DataError(f"{where}: {len(rows)} rows of {wanted!r} but {len(targets)} of {target!r}.")
    columns: Columns = {}
    if target == "label":
        columns["label"] = read_labels(targets, reading.read.labels, where)
    else:
        columns["y"] = _real(targets, f"{where}, array 'y'")
    if reading.kind == "image":
        return {"image": fit_arrays(_channels_first(rows, path), reading.read, where), **columns}
    return {"x": _real(rows, f"{where}, array 'x'"), **columns}


def read_idx_files(path: Path, reading: Reading) -> Columns:
    """Read an IDX image file, gzipped or not, and the label file beside it (``images-idx3`` → ``labels-idx1``)."""
    beside = idx_labels(path)
    if beside == path or not beside.exists():
        raise DataError(f"{path}: no label file {beside.name} beside it; name the images *images-idx3*.")
    with path.open("rb") as opened, beside.open("rb") as classes:
        images, labels = read_idx(opened, path.name), read_idx(classes, beside.name)
    if images.ndim != 3 or labels.ndim != 1 or len(images) != len(labels):
        raise DataError(
            f"{path.name} holds shape {images.shape} and {beside.name} {labels.shape}; needed are n images of height "
            "and width, and n labels."
        )
    pixels = fit_arrays(images[:, None], reading.read, reading.where(path))
    return {"image": pixels, "label": read_labels(labels, reading.read.labels, reading.where(beside))}


def read_cifar_binary(path: Path, reading: Reading) -> Columns:
    """Read one file of CIFAR-10's official binary release."""
    images, labels = parse_cifar_binary(read_whole(path), path.name)
    return {"image": fit_arrays(images, reading.read, reading.where(path)), "label": labels}


READERS: dict[str, tuple[Reader, tuple[str, ...]]] = {
    "folder": (read_image_folder, ("image",)),
    "parquet": (read_parquet, ("image", "text", "vector")),
    "npz": (read_npz_file, ("image", "vector")),
    "idx": (read_idx_files, ("image",)),
    "cifar_binary": (read_cifar_binary, ("image",)),
    "table": (read_csv, ("text", "vector")),
    "csv": (read_csv, ("text", "vector")),
    "jsonl": (read_json_lines, ("text", "vector")),
    "sentiment140_csv": (read_sentiment140, ("text",)),
    "cola_tsv": (read_cola, ("text",)),
    "lines": (read_lines, ("text",)),
}
"""Format name to reader and the kinds of rows that it can hold."""
_OF_KIND = {"image": "data=images", "text": "data=table"}
"""Choice of the group that reads files of the user's own, by kind of row."""


def _own_names(paths: list[Path], config: PathConfig, naming: Naming) -> list[str]:
    """Class names that ``datasets`` keeps in the metadata of its Parquet files."""
    import pyarrow.parquet as pq

    found: list[list[str]] = []
    for path in paths:
        if file_format(path, config) == "parquet":
            held = (pq.read_schema(path).metadata or {}).get(b"huggingface", b"{}")
            try:
                features = json.loads(held)["info"]["features"]
                found.append([str(name) for name in features[naming.theirs("label")]["names"]])
            except (ValueError, KeyError, TypeError):  # no class names are kept there
                found.append([])
    if any(names != found[0] for names in found):
        raise DataError(f"{paths[0]} and the other files of its split name their classes differently.")
    return found[0] if found else []


def _check_content(split: str, paths: list[Path], expected: str) -> None:
    digest = hashlib.sha256()
    for path in paths:
        if path.is_dir():
            raise DataError(f"data.path.sha256.{split} is for files, and {path} is a folder.")
        with path.open("rb") as stream:
            while block := stream.read(2**20):
                digest.update(block)
    if digest.hexdigest() != expected.lower():
        raise ContentMismatch(
            f"data.path, split {split!r}: expected sha256 {expected}, got {digest.hexdigest()} over "
            f"{', '.join(str(path) for path in paths)}. Get the right file, or correct data.path.sha256.{split}."
        )


def _real(values: np.ndarray, where: str) -> np.ndarray:
    """Vectors or targets as float64 (n, d)."""
    if values.dtype.kind not in "biuf":
        raise DataError(f"{where} has type {values.dtype}; real numbers are needed.")
    refuse_too_large(8 * values.size, f"{where}, as float64,")
    return values.astype(np.float64).reshape(len(values), -1)


def _channels_first(images: np.ndarray, path: Path) -> np.ndarray:
    if images.ndim == 3:
        return images[:, None]
    if images.ndim == 4 and images.shape[1] in (1, 3) and images.shape[3] in (1, 3):
        raise DataError(
            f"{path}: images of shape {images.shape} may have their channels first or last; "
            "write them as image files, one folder for each class."
        )
    if images.ndim == 4 and images.shape[1] in (1, 3):
        return images
    if images.ndim == 4 and images.shape[3] in (1, 3):
        return images.transpose(0, 3, 1, 2)
    raise DataError(f"{path}: images have shape {images.shape}; expected (n, h, w), (n, h, w, c) or (n, c, h, w).")
