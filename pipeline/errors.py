"""Errors that a user can act on; everything else is a bug and keeps its traceback."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from pipeline.shown_text import shown


class UserError(Exception):
    """Says in plain words what is wrong, where, and what to do. Shown without a traceback, and without passwords."""

    def __str__(self) -> str:
        """Message as it may be shown."""
        return shown(super().__str__())


class MissingUpstream(UserError):
    """An upstream artifact is absent and ``upstream=require`` forbids making it here."""


class FailedCells(MissingUpstream):
    """A gather lacks some cells, whose making has failed in this command; others were made."""


class TakenUpLater(BaseException):
    """Leaves an artifact that the same command takes up again: nothing of it failed, and its scratch stays."""


class CorruptArtifact(UserError):
    """A file of a finished artifact does not match its manifest."""


_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_ROOM = 64 * 1024
_REFUSED = {errno.EROFS, errno.EACCES, errno.EPERM}
_NO_FOLDER = {errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ELOOP, errno.ENAMETOOLONG}
_BROKEN = {errno.EIO, errno.EUCLEAN, errno.ENXIO, errno.EREMOTEIO}
_UNREACHABLE = {errno.ESTALE, errno.ENOTCONN, errno.EHOSTDOWN, errno.ETIMEDOUT, errno.ESHUTDOWN}
_NUMBER = re.compile(r"(?:os error|[Ee]rrno) (\d+)")
"""How libraries in Rust and C++ spell the system's error number in their messages."""


def storage_error(error: Exception, folder: Path, folders: Mapping[str, Path] | None = None) -> UserError | None:
    """Translate what the file system refused into one sentence.

    Parameters
    ----------
    error : Exception
        What was raised. Writers such as numpy's lose the system's error number on a full disk, so the
        free space is looked at too.
    folder : Path
        Where we were writing, if the error names no file.
    folders : mapping of str to Path, optional
        Folders by the setting that moves them, such as ``paths.store``; the sentence names the setting of the file
        that failed, and says whether reading or writing failed.

    Returns
    -------
    UserError or None
        None where the file system is not the cause.
    """
    number, path = _number(error), _path(error, folder)
    if number in _FULL or (number is None and _free_bytes(folder) < _NO_ROOM):
        return UserError(
            f"No space left while writing {path} ({_reason(error)}). Finished artifacts are untouched; free some space "
            f"or set {_setting(path, folders)} to another disk, then run the same command again."
        )
    if number in _REFUSED:
        return UserError(_refusal(error, path, folders))
    if number in _BROKEN:
        return UserError(
            f"The disk below {path} fails ({_reason(error)}). Finished artifacts elsewhere are untouched: have the "
            f"disk checked (dmesg shows its errors) or set {_setting(path, folders)} to another one, then run the same "
            "command again; stage=verify names damaged files."
        )
    if number in _UNREACHABLE:
        return UserError(
            f"The file server below {path} does not answer ({_reason(error)}). Nothing finished is lost: mount it "
            "again, then run the same command again."
        )
    if number in _NO_FOLDER and isinstance(error, OSError) and error.filename is not None:
        return UserError(
            f"{path} cannot be used ({_reason(error)}): a part of it is a file, a broken link, or too long a name. Set "
            f"{_setting(path, folders)} to a folder."
        )
    if number in (None, errno.ENOENT) and not folder.exists():
        return UserError(
            f"{folder} was deleted while this process worked in it. Finished artifacts elsewhere are untouched; run "
            "the same command again, and keep cleaners out of the store."
        )
    return None


def is_refused_by_disk(error: OSError) -> bool:
    """Whether a file on this machine was refused, so that no service far away is to blame."""
    return error.filename is not None and error.errno in _FULL | _REFUSED | _BROKEN | {errno.ESTALE}


def _number(error: Exception) -> int | None:
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    found = _NUMBER.search(str(error))
    return int(found[1]) if found else None


def _path(error: Exception, folder: Path) -> Path:
    name = error.filename if isinstance(error, OSError) else None
    return Path(os.fsdecode(name)) if isinstance(name, (str, bytes)) else folder


def _reason(error: Exception) -> str:
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)


def _refusal(error: Exception, path: Path, folders: Mapping[str, Path] | None) -> str:
    """Tell a file that may not be read from a folder that may not be written to."""
    setting = _setting(path, folders)
    if _number(error) != errno.EROFS and os.path.lexists(path) and not os.access(path, os.R_OK):
        return f"{path} may not be read ({_reason(error)}). Ask its owner for access, or set {setting} to another path."
    return f"Cannot write to {path} ({_reason(error)}). Set {setting} to a folder that you can write to{_or_ask(path)}."


def _or_ask(path: Path) -> str:
    """Name the colleague who can share what belongs to them; nothing where it is this user's own."""
    try:
        existing = next(place for place in (path, *path.parents) if os.path.lexists(place))
        if existing.lstat().st_uid in (os.geteuid(), 0):
            return ""
        return f", or ask {existing.owner()} for: chmod -R g+rwX {existing}"
    except (OSError, KeyError, StopIteration):
        return ""


def _setting(path: Path, folders: Mapping[str, Path] | None) -> str:
    """Name the setting or variable whose folder holds a path: the innermost one."""
    if folders is None:
        return "paths.store"
    known = {**folders, "the variable HF_HOME": _hugging_face()}
    absolute = Path(os.path.abspath(path))
    holding = [
        (len(place.parts), name)
        for name, place in ((name, Path(os.path.abspath(place))) for name, place in known.items())
        if absolute.is_relative_to(place)
    ]
    return max(holding)[1] if holding else "the setting that names it"


def _hugging_face() -> Path:
    return Path(os.environ.get("HF_HOME") or Path("~/.cache/huggingface")).expanduser()


_NO_MEMORY = re.compile("can't allocate memory|CUDA out of memory|CUDA error: out of memory")


def memory_error(error: Exception, stage: str, peak: int) -> UserError | None:
    """Translate a request for more memory than there is into one sentence; None for any other error.

    Parameters
    ----------
    error : Exception
        What was raised.
    stage : str
        Where.
    peak : int
        Main memory in bytes that the process had taken at most.
    """
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and _NO_MEMORY.search(str(error))):
        why = (str(error).strip().splitlines() or ["an allocation failed"])[0].rstrip(".")
        return UserError(
            f"Stage {stage} needs more memory than there is: {why}. Its process had taken up to {peak / 2**30:.1f} GiB "
            "of main memory. Finished artifacts are untouched. Fewer at a time need less (workers=1), and so do a "
            "smaller training.batch_size and kernel.memory."
        )
    return None


def _free_bytes(folder: Path) -> float:
    existing = next((path for path in (folder, *folder.parents) if path.exists()), None)
    return float("inf") if existing is None else shutil.disk_usage(existing).free
