"""Files that survive a kill, each beside a digest: damage on the disk is noticed before a run continues from them.

The digest is in ``NAME.digest``. It is written before the file is replaced and holds the digests of earlier files too,
so that a kill between the two steps leaves a pair that fits.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import xxhash

from pipeline.machine.deletion import remove
from pipeline.machine.side_files import read_record

_CHUNK = 2**24
_KEPT = 8
"""Earlier digests that stay valid: kills in a row, each between the two steps."""


def _digest(path: Path) -> str:
    found = xxhash.xxh3_128()
    with path.open("rb") as stream:
        while block := stream.read(_CHUNK):
            found.update(block)
    return found.hexdigest()


def _seal_of(path: Path) -> Path:
    return path.with_name(path.name + ".digest")


def _sealed(path: Path) -> list[str]:
    digests = (read_record(_seal_of(path)) or {}).get("digests")
    return [str(one) for one in digests] if isinstance(digests, list) else []


def _flush(path: Path) -> None:
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


def replace_sealed(written: Path, path: Path) -> None:
    """Flush a file to disk and give it its final name, in the place of an earlier one, with its digest beside it.

    Parameters
    ----------
    written : Path
        The complete file, in the same folder.
    path : Path
        Its final name.
    """
    digest, seal = _digest(written), _seal_of(path)
    _flush(written)
    draft = seal.with_name(seal.name + ".writing")
    draft.write_text(json.dumps({"digests": [digest, *_sealed(path)[:_KEPT]]}), encoding="utf-8")
    _flush(draft)
    draft.replace(seal)
    written.replace(path)


def is_sound(path: Path) -> bool:
    """Whether a file is there and has the bytes that :func:`replace_sealed` gave it."""
    try:
        return path.is_file() and _digest(path) in _sealed(path)
    except OSError:  # a disk that no longer reads it
        return False


def unseal(path: Path) -> None:
    """Delete a file and its digest, whatever has their names."""
    for one in (path, _seal_of(path)):
        remove(one)


def seal_folder(written: Path, folder: Path, seal: Path) -> None:
    """Flush the files of a folder to disk and give it its final name, with their digests in ``seal``.

    Parameters
    ----------
    written : Path
        The complete folder.
    folder : Path
        Its final name, not taken yet.
    seal : Path
        Where the digests go, outside the folder.
    """
    for path in written.iterdir():
        _flush(path)
    seal.parent.mkdir(parents=True, exist_ok=True)
    draft = seal.with_name(seal.name + ".writing")
    draft.write_text(json.dumps(_digests_in(written)), encoding="utf-8")
    _flush(draft)
    draft.replace(seal)
    written.rename(folder)


def is_sound_folder(folder: Path, seal: Path) -> bool:
    """Whether a folder holds the files and bytes that :func:`seal_folder` gave it."""
    try:
        return read_record(seal) == _digests_in(folder)
    except OSError:
        return False


def _digests_in(folder: Path) -> dict[str, str]:
    return {path.name: _digest(path) for path in folder.iterdir()}
