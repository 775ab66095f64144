"""Records beside an artifact's payload: what a full disk or a power loss left of them never stops a command."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any


def read_plain(path: Path | str) -> bytes:
    """Read a file with one look-up; a pipe or a device is not waited for.

    Raises
    ------
    OSError
        If there is none, or it is something else.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode):
            raise OSError("it is no file")
        found = os.read(descriptor, about.st_size + 1)
        if len(found) != about.st_size:  # it grew, or a read was cut short
            while more := os.read(descriptor, 1 << 20):
                found += more
        return found
    finally:
        os.close(descriptor)


def read_record(path: Path) -> dict[str, Any] | None:
    """Read a JSON object; None where the file is absent, empty, cut, not UTF-8, of another type or not readable.

    Parameters
    ----------
    path : Path
        A file on which no result depends, such as ``provenance.json`` or ``failed.json``.
    """
    try:
        record = json.loads(read_plain(path))
    except (OSError, ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None
