"""Read single members out of wheels, source archives and Debian packages, in memory.

Nothing is installed, imported or run, and nothing is extracted to disk.
"""

from __future__ import annotations

import io
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path

from pipeline.data.errors import DataError

AR_MAGIC = b"!<arch>\n"
AR_HEADER = 60


def read_members(archive: Path, patterns: Iterable[str]) -> dict[str, bytes]:
    """Read the files of an archive whose names match.

    Parameters
    ----------
    archive : Path
        A wheel or other zip, a (compressed) tar, or a ``.deb``.
    patterns : iterable of str
        Shell patterns (``*-ubyte.gz``), matched against the whole member name, a leading ``*`` included.

    Returns
    -------
    dict of str to bytes
        Member name to content, in archive order.

    Raises
    ------
    DataError
        If a pattern matches no file, the archive's form is unknown, or it is damaged.
    """
    patterns = list(patterns)
    try:
        wanted = dict(_files(archive, patterns))
    except (EOFError, OSError, tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError) as error:
        raise DataError(f"{archive.name} is damaged: {error}") from error
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in wanted):
            raise DataError(f"{archive.name} holds no file like {pattern!r}; it is not the archive that was pinned.")
    return wanted


def tar_members(content: bytes, patterns: Iterable[str]) -> dict[str, bytes]:
    """Read the matching files of a tar archive that is itself held in memory; compression is detected."""
    return dict(_tar_files(io.BytesIO(content), list(patterns)))


def ar_members(content: bytes) -> dict[str, bytes]:
    """Split a common ``ar`` archive, the outer layer of a ``.deb``, into its members.

    Raises
    ------
    DataError
        If the magic string or a header is damaged.
    """
    if not content.startswith(AR_MAGIC):
        raise DataError("not an ar archive: the magic string is missing")
    members: dict[str, bytes] = {}
    at = len(AR_MAGIC)
    while at + AR_HEADER <= len(content):
        header = content[at : at + AR_HEADER]
        if header[58:60] != b"`\n" or not header[48:58].strip().isdigit():
            raise DataError(f"damaged ar header at byte {at}")
        name = header[:16].decode("ascii", "replace").strip().rstrip("/")
        size = int(header[48:58])
        at += AR_HEADER
        if at + size > len(content):
            raise DataError(f"the ar archive ends within its member {name}: {size} bytes from byte {at}")
        members[name] = content[at : at + size]
        at += size + size % 2  # members start at even offsets
    return members


def _files(archive: Path, patterns: list[str]) -> Iterator[tuple[str, bytes]]:
    if archive.suffix == ".deb":
        outer = ar_members(archive.read_bytes())
        data = [name for name in outer if name.startswith("data.tar")]
        if len(data) != 1:
            raise DataError(f"{archive.name} has no data.tar member; it holds {sorted(outer)}")
        yield from _tar_files(io.BytesIO(outer[data[0]]), patterns)
    elif zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened:
            for name in opened.namelist():
                if _matches(name, patterns):
                    yield name, opened.read(name)
    elif tarfile.is_tarfile(archive):
        with archive.open("rb") as stream:
            yield from _tar_files(stream, patterns)
    else:
        raise DataError(f"{archive.name} is neither a zip, a tar nor a Debian package")


def _tar_files(stream: io.BufferedIOBase, patterns: list[str]) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(fileobj=stream) as opened:
        for member in opened:
            if member.isfile() and _matches(member.name, patterns):
                extracted = opened.extractfile(member)
                if extracted is not None:
                    yield member.name, extracted.read()


def _matches(name: str, patterns: list[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
