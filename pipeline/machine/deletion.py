"""Deletion in folders that other people can write to: it never leaves the folder that it was asked to delete."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path


def remove(path: Path) -> None:
    """Delete a file, a link (never what it points at) or a folder with everything in it; absent is fine.

    Raises
    ------
    OSError
        If something in it cannot be deleted.
    """
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def remove_strangers(folder: Path) -> None:
    """Delete what is neither file nor folder below a folder: none of ours is.

    Writing through a link would leave the folder, and a pipe would be waited for.
    """
    for parent, folders, files in os.walk(folder):
        for name in [*folders, *files]:
            path = Path(parent, name)
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                path.unlink()


def remove_or_leave(path: Path) -> None:
    """Delete as :func:`remove`, and leave what cannot be deleted: ``stage=gc`` lists it."""
    with contextlib.suppress(OSError):
        remove(path)
