"""Folders that settings name: ``~`` is the home folder everywhere, and each belongs to the setting that moves it."""

from __future__ import annotations

from pathlib import Path

from pipeline.config.run import RunConfig
from pipeline.errors import UserError


def user_path(text: str) -> Path:
    """Turn a path setting into a path, with ``~`` and ``~NAME`` as home folders.

    Raises
    ------
    UserError
        If there is no such home folder.

    Examples
    --------
    >>> user_path("data/train.parquet")
    PosixPath('data/train.parquet')
    """
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise UserError(f"{text}: there is no such home folder ({error}); write the whole path.") from error


def folders_of(config: RunConfig) -> dict[str, Path]:
    """Folders that a run reads and writes, by the setting that moves each; unset ones are left out."""
    named = {
        "paths.store": config.paths.store,
        "paths.cache": config.paths.cache,
        "paths.scratch": config.paths.scratch,
        "logging.folder": config.logging.folder,
    }
    return {name: user_path(text) for name, text in named.items() if text}
