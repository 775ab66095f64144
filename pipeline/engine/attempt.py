"""What an earlier attempt left of an artifact: whether it may be continued, and under which code it was begun."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.engine.artifacts import SCRATCH, partial_of, write_json
from pipeline.engine.graph import Node
from pipeline.engine.inventory.layout import stage_folder
from pipeline.machine.code_digest import changed_files, in_words, own_digest, own_files
from pipeline.machine.deciding_files import decides
from pipeline.machine.progress import say
from pipeline.machine.side_files import read_record

RECORD = "attempt.json"


def begin(node: Node, folder: Path, request: str, labels: Mapping[str, str]) -> list[str]:
    """Take up an earlier attempt in the construction folder, or drop it when a rebuild asks for a start from nothing.

    Parameters
    ----------
    node : Node
        What is being made.
    folder : Path
        Its final folder; the construction folder exists.
    request : str
        Mark of the rebuild request that covers it; empty without one.
    labels : mapping of str to str
        Labels of the cells that it serves, for whoever looks at it before it is finished.

    Returns
    -------
    list of str
        Files of our code that changed since the attempt, or an earlier one that it continues, was begun; said aloud.
    """
    scratch = partial_of(folder) / SCRATCH
    earlier = _earlier(scratch)
    if request and earlier.get("rebuild") != request:
        for entry in scratch.iterdir():
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
        earlier = {}
    changed = _changed(scratch, earlier)
    if changed:
        say(
            f"  made by other code: {in_words(changed)} since {folder.name} was interrupted, and what it had finished "
            f"is kept. To start it over: {node.command} 'rebuild=[{node.key}]'"
        )
    changed = sorted({*changed, *map(str, earlier.get("changed", []))})
    record = {"digest": own_digest(), "files": own_files(), "rebuild": request, "changed": changed}
    write_json(scratch / RECORD, {**record, "labels": dict(labels), "command": node.command})
    return changed


def other_code(folder: Path) -> str:
    """Say in a few words that the attempt at an artifact was begun by other code than today's; empty if it was not."""
    scratch = partial_of(folder) / SCRATCH
    changed = _changed(scratch, _earlier(scratch))
    return f"begun by other code: {in_words(changed)}" if changed else ""


def _earlier(scratch: Path) -> dict[str, Any]:
    """Record of the attempt that a scratch folder holds; a damaged one counts as none."""
    record = read_record(scratch / RECORD) or {}
    sound = isinstance(record.get("files", {}), dict) and isinstance(record.get("changed", []), list)
    return record if sound else {}


def _changed(scratch: Path, earlier: dict[str, Any]) -> list[str]:
    """Files that changed since an attempt was begun; none where it left nothing to continue."""
    if earlier.get("digest") in (None, own_digest()) or all(entry.name == RECORD for entry in scratch.iterdir()):
        return []
    stage = stage_folder(scratch.parent).name
    return [name for name in changed_files(earlier.get("files", {})) if decides(name, stage)]
