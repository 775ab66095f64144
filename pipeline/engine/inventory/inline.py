"""Small payload files that a manifest holds itself, line by line: settings, metrics, snapshot times.

Their names, sizes and digests stand in the manifest's list of files as those of any other file do. The pipeline reads
them there, without a look-up of their own. Settings and metrics are files beside it as well, for ``cat`` and ``grep``.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.machine.payload_files import MANIFEST, file_problem

FORMAT = 3
"""Of a manifest; those of format 1 hold no files, and beside those of format 2 are none of the files that they hold."""
METRICS, SETTINGS = "metrics.json", "config.yaml"
FOR_PEOPLE = frozenset({METRICS, SETTINGS})
"""Files that are there as well as in the manifest."""
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
    return dict(map(setting_of, setting_lines(text)))


def setting_lines(text: str) -> list[str]:
    """Lines of ``config.yaml`` that hold settings; a text in one may hold other marks that Unicode ends lines with."""
    return [line for line in text.split("\n") if line and not line.startswith(("stage: ", "version: "))]


def setting_of(line: str) -> tuple[str, Any]:
    """Read one of these lines."""
    name, _, value = line.partition(": ")
    return name, int(value) if value.isascii() and value.isdigit() else json.loads(value)  # most are seeds


def joined(lines: list[str]) -> bytes:
    """Bytes of a text file, each of whose lines ends with a line break."""
    return "\n".join([*lines, ""]).encode("utf-8", "surrogatepass")


def held_by(manifest: Mapping[str, Any]) -> dict[str, list[str]]:
    """Lines of the files that a manifest holds itself."""
    held = manifest.get("inline")
    held = held if isinstance(held, dict) else {}
    return {name: lines for name, lines in held.items() if isinstance(lines, list) and INLINE.fullmatch(name)}


def problem_of(folder: Path, manifest: Mapping[str, Any], name: str, lines: list[str] | None) -> str | None:
    """Say what is wrong with a payload file, in the manifest where that holds it; None where nothing is."""
    expected = manifest["files"][name]
    if lines is None:
        return file_problem(folder / name, expected)
    found = hashlib.sha256(joined(lines)).hexdigest()
    return None if found == expected["sha256"] else f"in {MANIFEST} is altered"


def problem_of_copy(folder: Path, manifest: Mapping[str, Any], name: str) -> str | None:
    """Say what is wrong with the file that people read, of which the manifest holds the lines as well."""
    path = folder / name
    if name not in FOR_PEOPLE or (manifest["format"] < FORMAT and not path.exists()):
        return None
    return file_problem(path, manifest["files"][name])
