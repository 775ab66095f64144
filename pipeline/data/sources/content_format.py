"""Which format a file has, told by its content; its name decides only where the content could be several."""

from __future__ import annotations

import re
import zipfile
import zlib
from pathlib import Path

from pipeline.config.data import PathConfig
from pipeline.data.errors import DataError

FORMATS_BY_NAME = {
    ".parquet": "parquet",
    ".npz": "npz",
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".txt": "lines",
    ".bin": "cifar_binary",
    "idx3-ubyte": "idx",
    "idx3-ubyte.gz": "idx",
}
"""End of a file's name to its format, where neither ``data.path.format`` nor the first bytes tell it."""
_TEXT = (".csv", ".tsv", ".txt")
"""Ends of names of plain text, of which any line may begin with a brace."""
_PACKED = (".gz", ".bz2", ".xz", ".zst", ".zip", ".tar", ".tgz")
_JSON = (
    "JSON is not read; write it as JSON lines, such as by pandas.read_json(OLD).to_json(NEW, orient='records', "
    "lines=True)"
)
_ARROW = "Arrow files are not read; write parquet, such as by pandas.read_feather(OLD).to_parquet(NEW)"
_SHEET = "spreadsheets are not read; save the sheet as csv"
_ARRAY = "write rows and labels into one npz file, such as by numpy.savez(NEW, image=..., label=...)"
_PICKLE = "pickles can run code and are not read; write parquet, csv or npz"
_OTHER = {
    (".json",): _JSON,
    (".feather", ".arrow"): _ARROW,
    (".xls", ".xlsx", ".ods"): _SHEET,
    (".npy", ".h5", ".hdf5", ".mat"): _ARRAY,
    (".pkl", ".pickle", ".pt", ".pth"): _PICKLE,
}
"""Ends of names of formats that are not read, and what helps."""
_MAGIC = {
    b"ARROW1": _ARROW,
    b"\x93NUMPY": _ARRAY,
    b"\x89HDF\r\n": _ARRAY,
    b"MATLAB 5.0 MAT-file": _ARRAY,
    b"\xd0\xcf\x11\xe0": _SHEET,
}
"""First bytes of formats that are not read, and what helps."""
_PICTURES = (b"\x89PNG\r\n", b"\xff\xd8\xff", b"GIF8", b"BM", b"II*\0", b"MM\0*")
_PICTURE_NAMES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")
IMAGE_FOLDER = (
    "for images in a folder with train/CLASS/ and test/CLASS/ set data=images data.path.train=FOLDER/train "
    "data.path.test=FOLDER/test."
)
_START = 2**12
"""Bytes that are looked at."""


def file_format(path: Path, config: PathConfig) -> str:
    """Format of one file: the configured one, else the one that its content tells, else its name.

    Raises
    ------
    DataError
        If the format is not read, or nothing tells it.
    """
    if config.format is not None and config.format != "table":
        return config.format
    if path.is_dir():
        return "folder"
    told = format_of_content(path, config.format == "table")
    if told is not None:
        return told
    name = path.name.lower()
    plain = next((name.removesuffix(end) for end in _PACKED if name.endswith(end)), name)
    for ends, help in _OTHER.items():
        if plain.endswith(ends):
            raise _not_read(path, help)
    if config.format == "table" and plain == name:
        return "csv"
    for end, form in FORMATS_BY_NAME.items():
        if name.endswith(end):
            return form
    if plain != name:
        raise DataError(f"{path} is compressed; unpack it (such as with gunzip or unzip).")
    raise DataError(
        f"{path}: neither content nor name tells its format; set data.path.format, such as data.path.format=csv "
        "(data.path.format=lines for texts, one a line)."
    )


def format_of_content(path: Path, table: bool = False) -> str | None:
    """Tell a format by the first bytes; None where they could be several.

    Parameters
    ----------
    path : Path
        The file.
    table : bool
        Whether the file is known to be a table, so that a line that begins with a brace is a row.

    Raises
    ------
    DataError
        If it is a format that is not read, with what helps.
    """
    with path.open("rb") as stream:
        start = stream.read(_START)
    for magic, help in _MAGIC.items():
        if start.startswith(magic):
            raise _not_read(path, help)
    if start[:1] == b"\x80" and start[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        raise _not_read(path, _PICKLE)
    if start.startswith(_PICTURES) or (start[:4] == b"RIFF" and start[8:12] == b"WEBP") or _named_picture(path, start):
        raise DataError(f"{path} is an image file; {IMAGE_FOLDER}")
    if start.startswith(b"PAR1"):
        return "parquet"
    if start.startswith(b"PK\x03\x04"):
        return _of_zip(path)
    if _is_idx(start):
        return "idx"
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if (table or not path.name.lower().endswith(_TEXT)) and re.match(rb'\{\s*("|\}|$)', text):
        return "jsonl"
    if table and re.match(rb"\[\s*[\[{\"\d]", text):
        raise _not_read(path, _JSON)
    return None


def _named_picture(path: Path, start: bytes) -> bool:
    """Whether a file is called like an image and is no text."""
    return path.name.lower().endswith(_PICTURE_NAMES) and b"\0" in start


def _of_zip(path: Path) -> str | None:
    """Tell arrays from spreadsheets and saved networks, all of which are zip archives."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):  # cut short: its reader says so
        return None
    if any(name.startswith(("xl/", "content.xml")) for name in names):
        raise _not_read(path, _SHEET)
    if any(name.endswith("data.pkl") for name in names):
        raise _not_read(path, _PICKLE)
    return "npz" if names and all(name.endswith(".npy") for name in names) else None


def _is_idx(start: bytes) -> bool:
    """Whether the bytes begin an IDX file of unsigned bytes, packed by gzip or not."""
    if start.startswith(b"\x1f\x8b"):
        try:
            start = zlib.decompressobj(16 + zlib.MAX_WBITS).decompress(start, 16)
        except zlib.error:
            return False
    return start[:3] == b"\0\0\x08" and start[3:4] in (b"\x01", b"\x02", b"\x03", b"\x04")


def _not_read(path: Path, help: str) -> DataError:
    read = ", ".join(sorted({*FORMATS_BY_NAME.values()}))
    return DataError(f"{path}: {help}. Formats that are read: {read}.")
