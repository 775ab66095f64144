"""Decoders of array formats that data sets are published in: IDX, CIFAR's records, npz. No pickle anywhere.

What a header promises is held against the file's length and the free memory before anything is read.
"""

from __future__ import annotations

import gzip
import io
import math
import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import cast

import numpy as np
from jaxtyping import Int64, UInt8

from pipeline.data.errors import DataError
from pipeline.data.sources.sizes import read_exactly, refuse_too_large

CIFAR_RECORD = 1 + 3 * 32 * 32
IDX_UINT8 = 0x08
GZIP_MAGIC = b"\x1f\x8b"
MOST_DIMENSIONS = 4
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    OSError,
    ValueError,
    OverflowError,
    RuntimeError,
    NotImplementedError,
)
"""What zip, gzip and numpy raise on cut, flipped, encrypted or unknown content."""


def parse_idx(content: bytes, name: str = "IDX file") -> UInt8[np.ndarray, "..."]:
    """Decode an IDX file of unsigned bytes (MNIST, Fashion-MNIST) held in memory, gzipped or not; see `read_idx`."""
    return read_idx(io.BytesIO(content), name)


def read_idx(stream: io.BufferedIOBase, name: str) -> UInt8[np.ndarray, "..."]:
    """Decode an IDX file of unsigned bytes, gzipped or not.

    Header: two zero bytes, the type code 0x08, the number of dimensions, then each size as a big-endian
    32-bit integer. No more is expanded than the header promises.

    Raises
    ------
    DataError
        If the header is not that of unsigned bytes, its sizes do not fit the memory, or the length does not fit it.
    """
    packed = stream.read(2) == GZIP_MAGIC
    stream.seek(0)
    try:
        opened = gzip.GzipFile(fileobj=stream) if packed else stream
        start = opened.read(4)
        if len(start) < 4 or start[:2] != b"\0\0" or start[2] != IDX_UINT8:
            raise DataError(f"{name} is not an IDX file of unsigned bytes: it starts with {start.hex() or 'nothing'}.")
        n_dims = start[3]
        if not 1 <= n_dims <= MOST_DIMENSIONS:
            raise DataError(f"{name}: its IDX header promises {n_dims} dimensions; 1 to {MOST_DIMENSIONS} are read.")
        sizes = opened.read(4 * n_dims)
        if len(sizes) < 4 * n_dims:
            raise DataError(f"{name} is cut short inside its IDX header.")
        shape = tuple(np.frombuffer(sizes, ">u4").tolist())
        refuse_too_large(math.prod(shape), f"{name}, whose header promises shape {shape},")
        content = read_exactly(opened, math.prod(shape), f"{name}, of shape {shape},")
    except _DAMAGE as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{name} is a damaged gzip file: {error}.") from error
    return np.frombuffer(content, np.uint8).reshape(shape)


def parse_cifar_binary(
    content: bytes, name: str = "CIFAR file"
) -> tuple[UInt8[np.ndarray, "n 3 32 32"], Int64[np.ndarray, " n"]]:
    """Decode CIFAR-10's official binary release: per record one label byte, then 3×32×32 pixels."""
    if not content or len(content) % CIFAR_RECORD:
        raise DataError(
            f"{name} holds {len(content)} bytes, not a multiple of {CIFAR_RECORD}, the record of CIFAR-10's binary "
            "release; for another format set data.path.format."
        )
    records = np.frombuffer(content, np.uint8).reshape(-1, CIFAR_RECORD)
    return records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0].astype(np.int64)


def npz_names(path: Path) -> list[str]:
    """Names of the arrays in an npz file.

    Raises
    ------
    DataError
        If the file is no whole zip archive.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return [name.removesuffix(".npy") for name in archive.namelist()]
    except _DAMAGE as error:
        raise DataError(f"{path} is not a whole npz file (written by numpy.savez): {error}.") from error


def read_npz(path: Path, names: Collection[str]) -> dict[str, np.ndarray]:
    """Read some arrays of an npz file, each after its header was held against its length and the free memory.

    Raises
    ------
    DataError
        Naming the array that is damaged, too large, or would need pickle.
    """
    arrays: dict[str, np.ndarray] = {}
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            name = entry.filename.removesuffix(".npy")
            if name not in names:
                continue
            where = f"{path}, array {name!r},"
            if name in arrays:
                raise DataError(f"{where} is there twice; write the file anew with one array of each name.")
            try:
                with archive.open(entry) as stream:
                    _check_npy(cast(io.BufferedIOBase, stream), entry.file_size, where)
                with archive.open(entry) as stream:
                    arrays[name] = np.lib.format.read_array(stream, allow_pickle=False)
            except _DAMAGE as error:
                if isinstance(error, DataError):
                    raise
                raise DataError(f"{where} is damaged: {error}.") from error
    return arrays


def _check_npy(stream: io.BufferedIOBase, size: int, where: str) -> None:
    version = np.lib.format.read_magic(stream)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise DataError(f"{where} has columns of its own; plain arrays are needed.")
    shape, _, dtype = readers[version](stream)
    if dtype.hasobject:
        raise DataError(f"{where} holds Python objects, which need pickle; plain arrays are needed.")
    promised = math.prod(shape) * dtype.itemsize
    refuse_too_large(promised, f"{where} of shape {shape}")
    if promised != size - stream.tell():
        raise DataError(f"{where} promises shape {shape} but holds {size - stream.tell()} of {promised} bytes.")
