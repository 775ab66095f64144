"""Where Hydra keeps the log of a command: below the working folder, or elsewhere if that cannot be written to."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from pipeline.engine.stages import COMMANDS
from pipeline.errors import UserError

_PAGES = ("--cfg", "-c", "--info", "-i", "--hydra-help", "--version", "--shell-completion", "-sc")
"""Flags of Hydra that print something and need no folder."""
_FOLDERS = {"hydra.run.dir": "outputs", "hydra.sweep.dir": "multirun"}


def with_usable_outputs(words: Sequence[str]) -> list[str]:
    """Put the overrides of :func:`usable_outputs` beside a command's own: no flag may lie between them.

    Examples
    --------
    >>> with_usable_outputs(["stage=status"])
    ['stage=status']
    """
    if any(word.startswith(_PAGES) for word in words):
        return list(words)
    first = next((i for i, word in enumerate(words) if "=" in word and not word.startswith("-")), len(words))
    return [*words[:first], *usable_outputs(words), *words[first:]]


def usable_outputs(words: Sequence[str]) -> list[str]:
    """Give the overrides that move Hydra's folders away from a working folder that cannot be written to.

    Parameters
    ----------
    words : sequence of str
        The command line.

    Returns
    -------
    list of str
        Empty where the command's own folders can be used.

    Raises
    ------
    UserError
        If a folder that the command names cannot be written to, or the working folder is gone.
    """
    try:
        Path.cwd()
    except FileNotFoundError as error:
        raise UserError("The working folder was deleted: change to one that exists and start again.") from error
    given = dict(word.split("=", 1) for word in words if "=" in word)
    moved = []
    for setting, default in _FOLDERS.items():
        if setting in given:
            folder = Path(given[setting].strip("'\""))
            if "$" not in given[setting] and not _can_write(folder):
                raise UserError(f"Cannot write to {folder}. Set {setting} to a folder that you can write to.")
        elif not _can_write(Path(default)):
            moved.append((setting, default))
    if not moved:
        return []
    elsewhere = Path(tempfile.mkdtemp(prefix="seedscope-"))
    if given.get("stage", "").strip("'\"") in COMMANDS:
        atexit.register(shutil.rmtree, elsewhere, ignore_errors=True)
    else:
        print(f"{Path.cwd()} cannot be written to: Hydra's log of this command is in {elsewhere}", file=sys.stderr)
    return [f"{setting}='{elsewhere}/{default}/${{now:%Y-%m-%d-%H-%M-%S-%f}}'" for setting, default in moved]


def _can_write(folder: Path) -> bool:
    """Whether a folder, which need not exist, can be written to or made."""
    for place in (folder, *folder.absolute().parents):
        if os.path.lexists(place):
            return place.is_dir() and os.access(place, os.W_OK | os.X_OK)
    return False
