"""The user's own files: one reader per published file format."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from pipeline.config.data import PathConfig
from pipeline.data.errors import ContentMismatch, DataError
from pipeline.data.records import UNLABELED, Columns, Records
from pipeline.data.sources.columns import columns_from_table, integer_labels, map_labels
from pipeline.data.sources.formats import decode_lines, parse_cifar_binary, parse_idx, parse_integers, parse_table
from pipeline.data.sources.identity import split_files
from pipeline.data.sources.packaged import CIFAR10_CLASSES
from pipeline.machine.content_digest import cached_sha256

SENTIMENT140_COLUMNS = ("label", "id", "date", "query", "user", "text")
SENTIMENT140_LABELS = {0: 0, 4: 1}

Reader = Callable[[Path, str, str, Mapping[str, str]], Columns]
"""From (file, kind, split, rename) to canonical columns."""


def load_path(config: PathConfig, kind: str) -> Records:
    """Read every configured file.

    Parameters
    ----------
    config : PathConfig
        Files per split, their format, expected hashes, renaming and label map.
    kind : {"image", "text", "vector"}
        What the rows are.

    Raises
    ------
    ContentMismatch
        If a split's files do not have the expected SHA-256; they are left where they are.
    DataError
        If the format is unknown or does not hold rows of this kind, or a row is damaged.
    """
    if config.format not in READERS:
        raise DataError(f"data.path.format={config.format} is not one of {', '.join(READERS)}.")
    reader, kinds = READERS[config.format]
    if kind not in kinds:
        raise DataError(f"data.path.format={config.format} holds {' or '.join(kinds)} rows, but data.kind={kind}.")
    label_map = dict(config.label_map)
    if config.format == "sentiment140_csv" and not label_map:
        label_map = SENTIMENT140_LABELS
    splits: dict[str, Columns] = {}
    drops: dict[str, int] = {}
    for split, paths in split_files(config).items():
        if split in config.sha256:
            _check_content(split, paths, config.sha256[split])
        columns = _joined([reader(path, kind, split, config.rename) for path in paths])
        splits[split] = map_labels(columns, label_map, split, drops)
    names = CIFAR10_CLASSES if config.format == "cifar_binary" else []
    files = [f"{path.name} sha256:{cached_sha256(path)}" for paths in split_files(config).values() for path in paths]
    return Records(kind, splits, names, drops, source=f"path: {', '.join(files)}")


def read_parquet(path: Path, kind: str, split: str, rename: Mapping[str, str]) -> Columns:
    """Read a Parquet file with the columns that ``datasets`` writes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path} is not a readable Parquet file: {error}") from error
    return columns_from_table(table, kind, rename, split)


def read_npz(path: Path, kind: str, split: str, rename: Mapping[str, str]) -> Columns:
    """Read arrays ``image`` (n, h, w[, c]) or (n, c, h, w) with ``label``, or ``x`` with ``y`` or ``label``."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            named = {rename.get(name, name): arrays[name] for name in arrays.files}
    except (ValueError, OSError) as error:
        raise DataError(f"{path} is not an npz file of plain arrays: {error}") from error
    wanted = ("image",) if kind == "image" else ("x",)
    if not set(wanted) <= set(named) or not {"label", "y"} & set(named):
        raise DataError(f"{path} holds {sorted(named)}; needed are {wanted[0]} and label (or y). Use `rename`.")
    columns: Columns = {}
    if "label" in named:
        columns["label"] = integer_labels(named["label"], split)
    else:
        columns["y"] = named["y"].astype(np.float64).reshape(len(named["y"]), -1)
    if kind == "image":
        return {"image": _channels_first(named["image"], path), **columns}
    return {"x": named["x"].astype(np.float64).reshape(len(named["x"]), -1), **columns}


def read_idx(path: Path, kind: str, split: str, rename: Mapping[str, str]) -> Columns:
    """Read an IDX image file, gzipped or not, and the label file beside it (``images-idx3`` → ``labels-idx1``)."""
    beside = path.with_name(path.name.replace("images-idx3", "labels-idx1").replace("images.idx3", "labels.idx1"))
    if beside == path or not beside.exists():
        raise DataError(f"{path}: no label file {beside.name} beside it; name the images *images-idx3*.")
    images = parse_idx(path.read_bytes(), path.name)
    return {"image": images[:, None], "label": parse_idx(beside.read_bytes(), beside.name).astype(np.int64)}


def read_cifar_binary(path: Path, kind: str, split: str, rename: Mapping[str, str]) -> Columns:
    """Read one file of CIFAR-10's official binary release."""
    images, labels = parse_cifar_binary(path.read_bytes(), path.name)
    return {"image": images, "label": labels}


def read_csv(path: Path, kind: str, split: str, rename: Mapping[str, str]) -> Columns:
    """Read a UTF-8 comma-separated table with a header."""
    table = parse_table(path.read_bytes(), None, encoding="utf-8", delimiter=",", name=path.name)
    named = {rename.get(name, name): values for name, values in table.items()}
    if not {"text", "label"} <= set(named):
        raise DataError(f"{path} has columns {', '.join(table)}; needed are text and label. Use data.path.rename.")
    named.setdefault("domain", [split] * len(named["text"]))
    kept = {name: named[name] for name in ("text", "domain", "group") if name in named}
    return {**kept, "label": parse_integers(named["label"], path.name)}


def read_sentiment140(path: Path, kind: str, split: str, rename: Mapping[str, str]) -> Columns:
    """Read an original Sentiment140 table: Latin-1, no header, polarity 0, 2 or 4; users become groups."""
    content = path.read_bytes()
    table = parse_table(content, SENTIMENT140_COLUMNS, encoding="latin-1", delimiter=",", name=path.name)
    labels = parse_integers(table["label"], path.name)
    return {"text": table["text"], "label": labels, "domain": [split] * len(labels), "group": table["user"]}


def read_cola(path: Path, kind: str, split: str, rename: Mapping[str, str]) -> Columns:
    """Read one of the CoLA authors' tables: source, label, mark, sentence; the file name tells the domain."""
    columns = ("source", "label", "mark", "text")
    table = parse_table(path.read_bytes(), columns, encoding="utf-8", delimiter="\t", name=path.name)
    domain = "out" if "out_of_domain" in path.name else "in"
    labels = parse_integers(table["label"], path.name)
    return {"text": table["text"], "label": labels, "domain": [domain] * len(labels)}


def read_lines(path: Path, kind: str, split: str, rename: Mapping[str, str]) -> Columns:
    """Read a plain UTF-8 text file, one text a line, without labels (for shift tests of one's own texts)."""
    texts = decode_lines(path.read_bytes(), "utf-8", path.name)
    labels = np.full(len(texts), UNLABELED, dtype=np.int64)
    return {"text": texts, "label": labels, "domain": [split] * len(texts)}


READERS: dict[str, tuple[Reader, tuple[str, ...]]] = {
    "parquet": (read_parquet, ("image", "text")),
    "npz": (read_npz, ("image", "vector")),
    "idx": (read_idx, ("image",)),
    "cifar_binary": (read_cifar_binary, ("image",)),
    "csv": (read_csv, ("text",)),
    "sentiment140_csv": (read_sentiment140, ("text",)),
    "cola_tsv": (read_cola, ("text",)),
    "lines": (read_lines, ("text",)),
}
"""Format name to reader and the kinds of rows that it can hold."""


def _joined(parts: list[Columns]) -> Columns:
    if len(parts) == 1:
        return parts[0]
    return {
        name: np.concatenate([part[name] for part in parts])
        if isinstance(parts[0][name], np.ndarray)
        else [value for part in parts for value in part[name]]
        for name in parts[0]
    }


def _check_content(split: str, paths: list[Path], expected: str) -> None:
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.read_bytes())
    if digest.hexdigest() != expected.lower():
        raise ContentMismatch(
            f"data.path, split {split!r}: expected sha256 {expected}, got {digest.hexdigest()} over "
            f"{', '.join(str(path) for path in paths)}. Get the right file, or correct data.path.sha256.{split}."
        )


def _channels_first(images: np.ndarray, path: Path) -> np.ndarray:
    if images.dtype != np.uint8:
        raise DataError(f"{path}: images have type {images.dtype}; they must be uint8 pixels from 0 to 255.")
    if images.ndim == 3:
        return images[:, None]
    if images.ndim == 4 and images.shape[1] in (1, 3):
        return images
    if images.ndim == 4 and images.shape[3] in (1, 3):
        return images.transpose(0, 3, 1, 2)
    raise DataError(f"{path}: images have shape {images.shape}; expected (n, h, w), (n, h, w, c) or (n, c, h, w).")
