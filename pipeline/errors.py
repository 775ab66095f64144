"""Errors that a user can act on; everything else is a bug and keeps its traceback."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

from pipeline.shown_text import shown


class UserError(Exception):
    """Says in plain words what is wrong, where, and what to do. Shown without a traceback, and without passwords."""

    def __str__(self) -> str:
        """Message as it may be shown."""
        return shown(super().__str__())


class MissingUpstream(UserError):
    """An upstream artifact is absent and ``upstream=require`` forbids making it here."""


class CorruptArtifact(UserError):
    """A file of a finished artifact does not match its manifest."""


_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_ROOM = 64 * 1024
_READ_ONLY = {errno.EROFS, errno.EACCES, errno.EPERM}


def storage_error(error: Exception, folder: Path) -> UserError | None:
    """Translate an error while writing to the store into one sentence.

    Parameters
    ----------
    error : Exception
        What was raised. Writers such as numpy's lose the system's error number on a full disk, so the
        free space is looked at too.
    folder : Path
        Where we were writing.

    Returns
    -------
    UserError or None
        None where the cause is neither a full disk nor a folder that cannot be written.
    """
    number = error.errno if isinstance(error, OSError) else None
    if number in _FULL or (number is None and _free_bytes(folder) < _NO_ROOM):
        return UserError(
            f"No space left while writing {folder} ({error}). Finished artifacts are untouched; free some space or "
            "set paths.store to another disk, then run the same command again."
        )
    if number in _READ_ONLY:
        return UserError(f"Cannot write to {folder} ({error}). Set paths.store to a folder that you can write to.")
    return None


def _free_bytes(folder: Path) -> float:
    existing = next((path for path in (folder, *folder.parents) if path.exists()), None)
    return float("inf") if existing is None else shutil.disk_usage(existing).free
