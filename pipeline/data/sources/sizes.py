"""Sizes known before memory is taken: what a file or its header promises is held against what is free."""

from __future__ import annotations

import io
import os
from pathlib import Path

from pipeline.data.errors import DataError

SHARE = 0.9
"""Part of the free memory that rows may take."""
SMALL = 2**26
"""Bytes that are taken without asking."""
COPIES = 2
"""Times that rows are held while they are prepared: as read, and as they are written."""


def refuse_too_large(size: int, what: str, copies: float = COPIES, way: str = "") -> None:
    """Refuse rows that do not fit the free main memory.

    Parameters
    ----------
    size : int
        Bytes of the rows.
    what : str
        File and reason, the beginning of the sentence.
    copies : float
        Times that they are held at once.
    way : str
        What makes such rows smaller.

    Raises
    ------
    DataError
        With both sizes.
    """
    needed = int(size * copies)
    if needed <= SMALL:
        return
    from kernels.machine.memory import available_memory, show_bytes

    free = available_memory()
    if needed > SHARE * free:
        raise DataError(
            f"{what} needs {show_bytes(needed)} of memory and {show_bytes(free)} are free; "
            f"{way or 'use fewer or smaller rows'}, or use a machine (a job, a container) with more memory."
        )


def read_whole(path: Path, copies: float = COPIES) -> bytes:
    """Read a file of which ``copies`` times its size will be held in memory, after looking at its size."""
    refuse_too_large(path.stat().st_size, f"{path}, read whole,", copies)
    return path.read_bytes()


def refuse_hollow(path: Path) -> None:
    """Refuse a file with holes that is larger than the memory, before hours are spent on hashing its zeros."""
    size = path.stat().st_size
    if size <= SMALL or not hasattr(os, "SEEK_HOLE"):
        return
    with path.open("rb") as stream:
        if os.lseek(stream.fileno(), 0, os.SEEK_HOLE) < size:
            refuse_too_large(size, f"{path}, a sparse file,", copies=1)


def read_exactly(stream: io.BufferedIOBase, size: int, what: str) -> bytes:
    """Read so many bytes of a possibly compressed stream, and see that it ends there.

    Raises
    ------
    DataError
        If the stream holds fewer or more bytes; no more than one beyond ``size`` is ever expanded.
    """
    content = stream.read(size)
    if len(content) < size:
        raise DataError(f"{what} holds {len(content)} of the {size} bytes that its header promises: it is cut short.")
    if stream.read(1):
        raise DataError(f"{what} holds more than the {size} bytes that its header promises.")
    return content
