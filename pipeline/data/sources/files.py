"""The user's own files: one reader per published file format."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.config.data import PathConfig, ReadConfig
from pipeline.data.errors import ContentMismatch, DataError
from pipeline.data.labels import is_number, map_labels, number_sorted, parse_whole, read_labels
from pipeline.data.records import UNLABELED, Columns, Records, n_rows
from pipeline.data.sources.columns import NEEDED, OPTIONAL, columns_from_table, join_shards, rename_way, renamed
from pipeline.data.sources.formats import npz_names, parse_cifar_binary, read_idx, read_npz
from pipeline.data.sources.identity import file_format, idx_labels, split_files
from pipeline.data.sources.pictures import fit_arrays
from pipeline.data.sources.sizes import SMALL, read_whole, refuse_too_large
from pipeline.data.sources.tables import DELIMITERS, TextTable, decode_lines, parse_table
from pipeline.machine.content_digest import cached_sha256

SENTIMENT140_COLUMNS = ("label", "id", "date", "query", "user", "text")
SENTIMENT140_LABELS = {0: 0, 4: 1}
TEXT_COPIES = 4
"""Times a text file's size that its rows take while they are read."""
PARQUET_MAGIC = b"PAR1"
PACKED_MAGIC = (b"\x1f\x8b", b"PK\x03\x04", b"BZh", b"\xfd7zX", b"\x28\xb5\x2f\xfd")
"""First bytes of gzip, zip, bzip2, xz and zstd files."""


@dataclass(frozen=True)
class Reading:
    """What a reader is asked for.

    Attributes
    ----------
    kind : {"image", "text", "vector"}
        What the rows are.
    split : str
        The split that the file belongs to; also the domain of texts that have none.
    rename : mapping
        The file's column name to ours.
    read : ReadConfig
        How labels and images are taken.
    delimiter : str
        Character between the columns of a csv.
    """

    kind: str
    split: str
    rename: Mapping[str, str]
    read: ReadConfig
    delimiter: str = ","

    def where(self, path: Path) -> str:
        """File and split, for messages."""
        return f"{path}, split {self.split!r}"


Reader = Callable[[Path, Reading], Columns]
"""From a file to canonical columns; labels that are to be numbered later stay as delivered."""


def load_path(config: PathConfig, kind: str, read: ReadConfig | None = None) -> Records:
    """Read every configured file.

    Parameters
    ----------
    config : PathConfig
        Files per split, their format, expected hashes, renaming and label map.
    kind : {"image", "text", "vector"}
        What the rows are.
    read : ReadConfig, optional
        How labels and images are taken.

    Raises
    ------
    ContentMismatch
        If a split's files do not have the expected SHA-256; they are left where they are.
    DataError
        If the format is unknown or does not hold rows of this kind, a row is damaged, or files do not fit together.
    """
    if config.format is not None:
        _reader(config.format, kind)
    read = read or ReadConfig()
    splits: dict[str, Columns] = {}
    drops: dict[str, int] = {}
    names: list[str] = []
    for split, paths in split_files(config).items():
        if split in config.sha256:
            _check_content(split, paths, config.sha256[split])
        reading = Reading(kind, split, config.rename, read, DELIMITERS[config.delimiter])
        columns = join_shards([_read_file(path, config, reading) for path in paths], paths, split)
        if n_rows(columns) == 0:
            raise DataError(f"{', '.join(map(str, paths))}, split {split!r}: no rows.")
        if kind == "text":
            columns.setdefault("domain", [split] * n_rows(columns))
        label_map = dict(config.label_map)
        if not label_map and file_format(paths[0], config) == "sentiment140_csv":
            label_map = SENTIMENT140_LABELS
        splits[split] = map_labels(columns, label_map, split, drops)
        names = names or ([] if label_map else _own_names(paths, config))
    if read.labels == "sorted":
        names = number_sorted(splits)
    files = [f"{path.name} sha256:{cached_sha256(path)}" for paths in split_files(config).values() for path in paths]
    return Records(kind, splits, names, drops, source=f"path: {', '.join(files)}")


def _reader(form: str, kind: str) -> Reader:
    if form not in READERS:
        raise DataError(f"data.path.format={form} is not one of {', '.join(READERS)}.")
    reader, kinds = READERS[form]
    if kind not in kinds:
        raise DataError(f"data.path.format={form} holds {' or '.join(kinds)} rows, but data.kind={kind}.")
    return reader


def _read_file(path: Path, config: PathConfig, reading: Reading) -> Columns:
    form = file_format(path, config)
    reader = _reader(form, reading.kind)
    with path.open("rb") as stream:
        start = stream.read(4)
    if not start:
        raise DataError(f"{path} is empty.")
    if start == PARQUET_MAGIC and form != "parquet":
        raise DataError(f"{path} is a Parquet file, but data.path.format={form}; data.path.format=parquet reads it.")
    if start.startswith(PACKED_MAGIC) and reading.kind == "text":
        raise DataError(f"{path} is compressed, which {form} is not; unpack it (such as with gunzip or unzip).")
    if form != "csv" and reading.delimiter != ",":
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
            wanted = {*NEEDED[reading.kind], *OPTIONAL["text"], *reading.rename, *reading.rename.values()}
            schema = opened.schema_arrow
            chosen = [name for name in schema.names if name in wanted]
            if any("." in name for name in chosen) or len(chosen) < len(set(NEEDED[reading.kind])):
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
    return columns_from_table(table, reading.kind, reading.rename, reading.where(path), read=reading.read)


def read_npz_file(path: Path, reading: Reading) -> Columns:
    """Read arrays ``image`` (n, h, w[, c]) or (n, c, h, w) with ``label``, or ``x`` with ``y`` or ``label``."""
    where = reading.where(path)
    held = {name: name for name in npz_names(path)}
    named = renamed(held, reading.rename, where)
    wanted = "image" if reading.kind == "image" else "x"
    if wanted not in named or not {"label", "y"} & set(named) or (reading.kind == "image" and "label" not in named):
        needed = "image and label" if reading.kind == "image" else "x and label (or y)"
        raise DataError(
            f"{path} holds {', '.join(map(ascii, held))}; needed are {needed}. Rename one of them, such as "
            f"'data.path.rename={{arr_0: {wanted}}}'."
        )
    target = "label" if "label" in named else "y"
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


def read_csv(path: Path, reading: Reading) -> Columns:
    """Read a UTF-8 table with a header; ``data.path.delimiter`` separates its columns."""
    whole = [old for old, new in reading.rename.items() if new == "label"] or ["label"]
    table = parse_table(
        read_whole(path, TEXT_COPIES),
        None,
        encoding="utf-8",
        delimiter=reading.delimiter,
        name=path.name,
        whole=whole,
    )
    named = renamed(table.columns, reading.rename, reading.where(path))
    missing = [name for name in ("text", "label") if name not in named]
    if missing:
        raise DataError(
            f"{path}, line 1: the columns are {', '.join(map(ascii, table.columns))}; needed are text and label (a csv "
            f"begins with a line of such names). {rename_way(missing[0], table.columns, 'path')}"
        )
    columns: Columns = {name: named[name] for name in ("text", "domain", "group") if name in named}
    for name in OPTIONAL["text"]:
        for line, value in zip(table.lines, columns.get(name, ()), strict=name in columns):
            if not value.strip():
                raise DataError(f"{path}, line {line}: no {name}.")
    return {**columns, "label": _cells(named["label"], table, path, reading)}


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


READERS: dict[str, tuple[Reader, tuple[str, ...]]] = {
    "parquet": (read_parquet, ("image", "text")),
    "npz": (read_npz_file, ("image", "vector")),
    "idx": (read_idx_files, ("image",)),
    "cifar_binary": (read_cifar_binary, ("image",)),
    "csv": (read_csv, ("text",)),
    "sentiment140_csv": (read_sentiment140, ("text",)),
    "cola_tsv": (read_cola, ("text",)),
    "lines": (read_lines, ("text",)),
}
"""Format name to reader and the kinds of rows that it can hold."""


def _cells(values: list[str], table: TextTable, path: Path, reading: Reading) -> np.ndarray:
    """Labels of a csv: whole numbers where all cells are, else words to be numbered."""
    if reading.read.labels == "sorted" and not all(map(is_number, values)):
        return read_labels(values, "sorted", reading.where(path))
    return parse_whole(values, table.lines, path.name)


def _own_names(paths: list[Path], config: PathConfig) -> list[str]:
    """Class names that ``datasets`` keeps in the metadata of its Parquet files."""
    import pyarrow.parquet as pq

    found: list[list[str]] = []
    for path in paths:
        if file_format(path, config) == "parquet":
            held = (pq.read_schema(path).metadata or {}).get(b"huggingface", b"{}")
            theirs = {new: old for old, new in config.rename.items()}.get("label", "label")
            try:
                found.append([str(name) for name in json.loads(held)["info"]["features"][theirs]["names"]])
            except (ValueError, KeyError, TypeError):  # no class names are kept there
                found.append([])
    if any(names != found[0] for names in found):
        raise DataError(f"{paths[0]} and the other files of its split name their classes differently.")
    return found[0] if found else []


def _check_content(split: str, paths: list[Path], expected: str) -> None:
    digest = hashlib.sha256()
    for path in paths:
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
        raise DataError(f"{path}: images of shape {images.shape} may have their channels first or last; drop one axis.")
    if images.ndim == 4 and images.shape[1] in (1, 3):
        return images
    if images.ndim == 4 and images.shape[3] in (1, 3):
        return images.transpose(0, 3, 1, 2)
    raise DataError(f"{path}: images have shape {images.shape}; expected (n, h, w), (n, h, w, c) or (n, c, h, w).")
