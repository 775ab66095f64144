"""Digests of the content of files and folders, wherever they lie; remembered while a file is surely the same."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

LITTER = {"thumbs.db", "desktop.ini", "__macosx"}
"""What file managers leave beside hidden files."""
_SETTLED_NS = 2_000_000_000
"""Age at which a file's times surely differ from those of its next change, in nanoseconds."""
_DIGESTS: dict[Path, tuple[tuple[int, ...], str]] = {}


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, read in blocks."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def cached_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes; read once in this process while the file stays as it is.

    The time of the last change of a file's inode is among what is compared: unlike the time of modification, no
    program sets it back. A file that was changed just now is read again, since its next change may get the same time.
    """
    stat = path.stat()
    state = (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
    known = _DIGESTS.get(path.absolute())
    if known is not None and known[0] == state:
        return known[1]
    settled = time.time_ns() - stat.st_ctime_ns > _SETTLED_NS
    digest = file_sha256(path)
    if settled:
        _DIGESTS[path.absolute()] = (state, digest)
    return digest


def content_of(place: Path, deep: bool = False) -> str:
    """One digest over the content of a file, or over the names and contents of a folder's files.

    Where the folder lies, times, hidden files (a downloader's notes, a repository) and what file managers
    leave (``Thumbs.db``) do not count.

    Parameters
    ----------
    place : Path
        A file or a folder.
    deep : bool
        Whether folders in the folder count too.

    Returns
    -------
    str
        ``sha256:`` and 64 hexadecimal digits.
    """
    if place.is_file():
        return f"sha256:{cached_sha256(place)}"
    whole = hashlib.sha256()
    for path in sorted(_files(place, deep)):
        name = os.fsencode(path.relative_to(place).as_posix())  # of whatever encoding
        whole.update(name + f"\0{cached_sha256(path)}\n".encode())
    return f"sha256:{whole.hexdigest()}"


def is_hidden(name: str) -> bool:
    """Whether a name is one of what nobody put there on purpose: hidden files, and what file managers leave.

    Examples
    --------
    >>> is_hidden(".DS_Store"), is_hidden("Thumbs.db"), is_hidden("cat.PNG")
    (True, True, False)
    """
    return name.startswith(".") or name.casefold() in LITTER


def _files(folder: Path, deep: bool) -> Iterator[Path]:
    seen = set()
    for root, folders, names in os.walk(folder, followlinks=True):
        here = os.path.realpath(root)
        folders[:] = [name for name in folders if deep and not is_hidden(name) and here not in seen]
        if here in seen:  # a link to a folder that was walked already
            continue
        seen.add(here)
        yield from (path for name in names if not is_hidden(name) and (path := Path(root) / name).is_file())
