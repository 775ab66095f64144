"""Scratch of an artifact under construction: in its own folder, or elsewhere behind a link that only we may follow."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from pipeline.errors import UserError
from pipeline.machine.deletion import remove, remove_or_leave, remove_strangers
from pipeline.machine.progress import say

SCRATCH = "scratch"
MARK = "construction-folder.txt"
"""File beside a scratch folder elsewhere that names the construction folder that it belongs to."""


def open_scratch(partial: Path, elsewhere: Path | None) -> Path:
    """Make the scratch of a construction folder ready and keep what an earlier attempt left in it.

    Parameters
    ----------
    partial : Path
        The construction folder.
    elsewhere : Path or None
        ``paths.scratch``; several stores may share it. A link that leads to a folder which was not made for this
        construction folder is deleted, whoever put it there, and what it leads to is left alone.

    Raises
    ------
    UserError
        If a part of the path below ``paths.scratch`` leads elsewhere.
    """
    here = partial / SCRATCH
    if here.is_symlink() and not _is_ours(here, partial):
        if here.exists():
            say(f"  {here} led to {here.resolve()}, which was not made for it: the link is removed, its goal is left")
        here.unlink()
    if here.exists() and not here.is_dir():
        remove(here)
    if elsewhere is not None and not here.exists():
        here.symlink_to(_new_folder(partial, elsewhere), target_is_directory=True)
    here.mkdir(exist_ok=True)
    remove_strangers(here)
    for record in here.glob("*.json"):
        if record.is_dir():
            remove(record)
    return here


def _new_folder(partial: Path, elsewhere: Path) -> Path:
    """Make a folder of its own for one construction folder: equal artifacts of two stores must not meet."""
    elsewhere.mkdir(parents=True, exist_ok=True)
    stage, name = partial.parent.name, partial.name.removesuffix(".partial")
    own = elsewhere.resolve() / stage / f"{name}-{secrets.token_hex(4)}"
    own.mkdir(parents=True)
    if own.resolve() != own:
        raise UserError(f"{own.parent} leads to another folder ({own.resolve().parent}): delete that link.")
    (own / MARK).write_text(_named(partial), encoding="utf-8")
    there = own / SCRATCH
    there.mkdir()
    return there


def _named(partial: Path) -> str:
    return os.path.realpath(partial)


def belongs_to(scratch: Path) -> Path | None:
    """Read for which construction folder a scratch folder elsewhere was made; None for any other folder."""
    mark = scratch.parent / MARK
    try:
        return None if mark.is_symlink() or not mark.is_file() else Path(mark.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _is_ours(link: Path, partial: Path) -> bool:
    return belongs_to(link.resolve()) == Path(_named(partial))


def drop_scratch(partial: Path) -> None:
    """Delete the scratch of a construction folder, and its folder elsewhere if it was made for this one."""
    here = partial / SCRATCH
    if here.is_symlink() and _is_ours(here, partial):
        remove_or_leave(here.resolve().parent)
    remove_or_leave(here)
