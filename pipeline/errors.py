"""Errors that a user can act on; everything else is a bug and keeps its traceback."""

from __future__ import annotations

import errno
from pathlib import Path


class UserError(Exception):
    """Says in plain words what is wrong, where, and what to do. Shown without a traceback."""


class MissingUpstream(UserError):
    """An upstream artefact is absent and ``upstream=require`` forbids making it here."""


class CorruptArtifact(UserError):
    """A file of a finished artefact does not match its manifest."""


_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_READ_ONLY = {errno.EROFS, errno.EACCES, errno.EPERM}


def storage_error(error: OSError, folder: Path) -> UserError | None:
    """Translate an operating-system error about the store into one sentence.

    Parameters
    ----------
    error : OSError
        What the system said.
    folder : Path
        Where we were writing.

    Returns
    -------
    UserError or None
        None where the error is neither a full disk nor a folder that cannot be written.
    """
    if error.errno in _FULL:
        return UserError(
            f"No space left while writing {error.filename or folder} ({error.strerror}). Finished artefacts are "
            "untouched; free some space or set paths.store to another disk, then run the same command again."
        )
    if error.errno in _READ_ONLY:
        return UserError(
            f"Cannot write to {error.filename or folder} ({error.strerror}). Set paths.store to a folder that "
            "you can write to."
        )
    return None
