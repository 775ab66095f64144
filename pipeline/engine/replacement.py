"""Put a finished folder in the place of an old one, so that one of the two has the final name at every moment."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
from pathlib import Path

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_NOT_HERE = {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTTY}


def put_in_place(made: Path, folder: Path) -> None:
    """Give a complete folder its final name; what had that name before is deleted afterwards.

    Linux exchanges two folders in one step. File systems that cannot (some network ones) get two renames; a kill
    between them is undone by :func:`settle`.

    Parameters
    ----------
    made : Path
        The complete new folder.
    folder : Path
        Its final name, taken or not.
    """
    if not folder.exists():
        made.rename(folder)
        return
    old = replaced(folder)
    shutil.rmtree(old, ignore_errors=True)
    if _exchange(made, folder):
        made.rename(old)
    else:
        folder.rename(old)
        made.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def replaced(folder: Path) -> Path:
    """Name that an old folder has while it is being deleted."""
    return folder.with_name(folder.name + ".replaced")


def settle(folder: Path, partial: Path) -> None:
    """Finish what a kill left of :func:`put_in_place`; to be called by the owner of the folder's lock.

    Parameters
    ----------
    folder : Path
        The final name.
    partial : Path
        The construction folder; one with a manifest is complete, and so an old folder that was just exchanged.
    """
    old = replaced(folder)
    if not folder.exists() and old.is_dir():
        old.rename(folder)
    drop_replaced(folder)
    if folder.exists() and (partial / "manifest.json").exists():
        shutil.rmtree(partial, ignore_errors=True)


def drop_replaced(folder: Path) -> None:
    """Delete what a kill left of an old folder whose successor is in place; needs no lock."""
    old = replaced(folder)
    if old.is_dir() and folder.exists():
        shutil.rmtree(old, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two names in one step; False where the system or the file system cannot."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    if rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in _NOT_HERE:
        return False
    raise OSError(number, os.strerror(number), str(one))
