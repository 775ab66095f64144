"""Decoders of the file formats that data sets are published in. No pickle anywhere."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Int64, UInt8

from pipeline.data.errors import DataError

CIFAR_RECORD = 1 + 3 * 32 * 32
IDX_UINT8 = 0x08


def parse_idx(content: bytes, name: str = "IDX file") -> UInt8[np.ndarray, "..."]:
    """Decode an IDX file of unsigned bytes (MNIST, Fashion-MNIST), gzipped or not.

    Header: two zero bytes, the type code 0x08, the number of dimensions, then each size as a big-endian
    32-bit integer.

    Raises
    ------
    DataError
        If the header is not that of unsigned bytes or the length does not fit it.
    """
    if content[:2] == b"\x1f\x8b":
        content = gzip.decompress(content)
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] != IDX_UINT8:
        raise DataError(f"{name} is not an IDX file of unsigned bytes: it starts with {content[:4].hex()}")
    n_dims = content[3]
    shape = tuple(np.frombuffer(content, ">u4", count=n_dims, offset=4).tolist())
    values = np.frombuffer(content, np.uint8, offset=4 + 4 * n_dims)
    if values.size != np.prod(shape):
        raise DataError(f"{name} promises shape {shape} but holds {values.size} bytes")
    return values.reshape(shape)


def parse_cifar_binary(
    content: bytes, name: str = "CIFAR file"
) -> tuple[UInt8[np.ndarray, "n 3 32 32"], Int64[np.ndarray, " n"]]:
    """Decode CIFAR-10's official binary release: per record one label byte, then 3×32×32 pixels."""
    if not content or len(content) % CIFAR_RECORD:
        raise DataError(f"{name} holds {len(content)} bytes, not a multiple of {CIFAR_RECORD}")
    records = np.frombuffer(content, np.uint8).reshape(-1, CIFAR_RECORD)
    return records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0].astype(np.int64)


def decode_images(encoded: Sequence[bytes], name: str = "image column") -> UInt8[np.ndarray, "n c h w"]:
    """Decode PNG or JPEG images of one common size; gray images keep one channel.

    Raises
    ------
    DataError
        With the row number of the first image that cannot be decoded or has another shape.
    """
    from PIL import Image

    images: UInt8[np.ndarray, "n c h w"] | None = None
    for row, content in enumerate(encoded):
        try:
            with Image.open(io.BytesIO(content)) as opened:
                pixels = np.asarray(opened if opened.mode in ("L", "RGB") else opened.convert("RGB"))
        except (OSError, ValueError, TypeError, SyntaxError) as error:  # Pillow raises SyntaxError on broken PNGs
            raise DataError(f"{name}, row {row}: the image cannot be decoded ({error})") from error
        pixels = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
        if images is None:
            images = np.empty((len(encoded), *pixels.shape), np.uint8)
        if pixels.shape != images.shape[1:]:
            raise DataError(f"{name}, row {row}: shape {pixels.shape} where row 0 has {images.shape[1:]}")
        images[row] = pixels
    if images is None:
        raise DataError(f"{name} has no rows")
    return images


def decode_lines(content: bytes, encoding: str, name: str) -> list[str]:
    """Decode text line by line, so that a wrong encoding is reported with its row.

    Raises
    ------
    DataError
        With the number of the first row that is not valid in the encoding.
    """
    lines = content.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    if lines and not lines[-1]:
        lines.pop()
    decoded = []
    for row, line in enumerate(lines):
        try:
            decoded.append(line.rstrip(b"\r").decode(encoding))
        except UnicodeDecodeError as error:
            raise DataError(
                f"{name}, row {row}: not valid {encoding} ({error.reason} at byte {error.start})"
            ) from error
    return decoded


def parse_table(content: bytes, columns: Sequence[str] | None, *, encoding: str, delimiter: str, name: str) -> dict:
    """Decode a delimited text table into lists of strings.

    Parameters
    ----------
    content : bytes
        The file.
    columns : sequence of str or None
        Column names of a file without header; None reads them from the first row.
    encoding, delimiter : str
        How the file is written; a tab delimiter switches quoting off (CoLA's files contain bare quotes).
    name : str
        The file's name for messages.

    Raises
    ------
    DataError
        With the row number of the first row with another number of fields.
    """
    lines = (line + "\n" for line in decode_lines(content, encoding, name))
    rows: Iterable[list[str]] = (
        csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
        if delimiter == "\t"
        else csv.reader(lines, delimiter=delimiter)
    )
    table: dict[str, list[str]] = {column: [] for column in columns} if columns is not None else {}
    for row, fields in enumerate(rows):
        if not table:
            table = {column: [] for column in fields}
            continue
        if len(fields) != len(table):
            raise DataError(f"{name}, row {row}: {len(fields)} fields where {len(table)} are expected")
        for column, value in zip(table.values(), fields, strict=True):
            column.append(value)
    return table


def parse_integers(values: Iterable[str], name: str) -> Int64[np.ndarray, " n"]:
    """Convert labels read as text to integers, naming the first row that is not one."""
    parsed = []
    for row, value in enumerate(values):
        try:
            parsed.append(int(value))
        except ValueError as error:
            raise DataError(f"{name}, row {row}: label {value[:20]!r} is not an integer") from error
    return np.array(parsed, dtype=np.int64)
