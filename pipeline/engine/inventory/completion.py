"""The last act of making an artifact: its construction folder gets the final name, once everything is on disk."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.engine.artifacts import Artifact, partial_of, write_json
from pipeline.engine.inventory.inline import FOR_PEOPLE, FORMAT, INLINE, lines_of
from pipeline.engine.replacement import put_in_place
from pipeline.machine.content_digest import file_sha256
from pipeline.machine.payload_files import MANIFEST, PROVENANCE, payload_files
from pipeline.machine.scratch import drop_scratch


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def complete(folder: Path, identity: Mapping[str, Any], record: Mapping[str, Any]) -> Artifact:
    """Turn a construction folder into a finished artifact; the rename comes last, and an old artifact goes after it.

    Parameters
    ----------
    folder : Path
        The final folder.
    identity : mapping
        Stage, key and VERSION, written into the manifest.
    record : mapping
        Provenance.
    """
    partial = partial_of(folder)
    drop_scratch(partial)
    with contextlib.suppress(OSError):  # logs that hold something stay
        (partial / "logs").rmdir()
    names = payload_files(partial)
    files = {name: {"sha256": file_sha256(partial / name), "bytes": (partial / name).stat().st_size} for name in names}
    inline = {
        name: lines for name in names if INLINE.fullmatch(name) and (lines := lines_of(partial / name)) is not None
    }
    write_json(partial / PROVENANCE, record)
    write_json(partial / MANIFEST, {"format": FORMAT, **identity, "files": files, "inline": inline})
    held = inline.keys() - FOR_PEOPLE
    for name in held:
        (partial / name).unlink()
    for name in [*(name for name in names if name not in held), MANIFEST, PROVENANCE]:
        _flush(partial / name)
    _flush(partial)
    put_in_place(partial, folder)
    _flush(folder.parent)
    return Artifact(folder)
