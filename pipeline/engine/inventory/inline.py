"""Small payload files that a manifest holds itself, line by line for people to read: settings, metrics, snapshot times.

Their names, sizes and digests stand in the manifest's list of files as those of any other file do.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

FORMAT = 2
"""Of a manifest; those of format 1 hold no files."""
METRICS, SETTINGS = "metrics.json", "config.yaml"
INLINE = re.compile(r"config\.yaml|metrics\.json|steps\.json|step-\d+/step\.json")
_MOST = 1 << 16
"""Bytes of a larger one, which stays a file."""


def lines_of(path: Path) -> list[str] | None:
    """Lines of a small text file; None where joining them would not give its bytes again."""
    if path.stat().st_size > _MOST:
        return None
    content = path.read_bytes()
    lines = content.decode("utf-8", "replace").split("\n")[:-1]
    return lines if joined(lines) == content else None


def settings_of(text: str) -> dict[str, Any]:
    """Read the settings that ``config.yaml`` holds, one a line and each in JSON, by their dotted names.

    Examples
    --------
    >>> settings_of("stage: train" + chr(10) + "training.lr: 0.05" + chr(10))
    {'training.lr': 0.05}
    """
    pairs = (line.partition(": ") for line in text.splitlines())
    return {name: json.loads(value) for name, _, value in pairs if name not in ("stage", "version")}


def joined(lines: list[str]) -> bytes:
    """Bytes of a text file, each of whose lines ends with a line break."""
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogatepass")
