"""Records beside an artifact's payload: what a full disk or a power loss left of them never stops a command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def read_record(path: Path) -> dict[str, Any] | None:
    """Read a JSON object; None where the file is absent, empty, cut, not UTF-8, of another type or not readable.

    Parameters
    ----------
    path : Path
        A file on which no result depends, such as ``provenance.json`` or ``failed.json``.
    """
    try:
        if not path.is_file():  # a folder, or a pipe that would be waited for
            return None
        record = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None
