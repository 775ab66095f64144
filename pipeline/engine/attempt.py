"""What an earlier attempt left of an artifact: whether it may be continued, and under which code it was begun."""

from __future__ import annotations

import shutil
from pathlib import Path

from pipeline.engine.artifacts import SCRATCH, partial_of, write_json
from pipeline.engine.graph import Node
from pipeline.machine.code_digest import changed_files, in_words, own_digest, own_files
from pipeline.machine.progress import say
from pipeline.machine.side_files import read_record

RECORD = "attempt.json"


def begin(node: Node, folder: Path, request: str) -> list[str]:
    """Take up an earlier attempt in the construction folder, or drop it when a rebuild asks for a start from nothing.

    Parameters
    ----------
    node : Node
        What is being made.
    folder : Path
        Its final folder; the construction folder exists.
    request : str
        Mark of the rebuild request that covers it; empty without one.

    Returns
    -------
    list of str
        Files of our code that changed since the attempt, or an earlier one that it continues, was begun; said aloud.
    """
    scratch = partial_of(folder) / SCRATCH
    earlier = read_record(scratch / RECORD) or {}
    if request and earlier.get("rebuild") != request:
        for entry in scratch.iterdir():
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
        earlier = {}
    if not isinstance(earlier.get("files", {}), dict) or not isinstance(earlier.get("changed", []), list):
        earlier = {}
    changed: list[str] = []
    if (
        isinstance(earlier.get("digest"), str)
        and earlier["digest"] != own_digest()
        and any(entry.name != RECORD for entry in scratch.iterdir())
    ):
        changed = changed_files(earlier.get("files", {}))
    if changed:
        say(
            f"  made by other code: {in_words(changed)} since {folder.name} was interrupted, and what it had finished "
            f"is kept. To start it over: {node.command} 'rebuild=[{node.key}]'"
        )
    changed = sorted({*changed, *map(str, earlier.get("changed", []))})
    record = {"digest": own_digest(), "files": own_files(), "rebuild": request, "changed": changed}
    write_json(scratch / RECORD, record)
    return changed
