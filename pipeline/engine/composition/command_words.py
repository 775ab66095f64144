"""The words of a command that decide what is composed: overrides, and Hydra's flags for files of one's own."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from pipeline.engine.scale import CONF, collapsed

CONFIG_NAME = "config"
_FLAG = "--config-"


def command_words(hydra_config: Any) -> list[str]:
    """Read from a running job how it was composed, so that cells and printed commands are composed likewise.

    Parameters
    ----------
    hydra_config : HydraConf
        Of the job (``HydraConfig.get()``); it also exists in the jobs of a sweep, whose processes have other arguments.

    Returns
    -------
    list of str
        ``--config-path``, ``--config-dir`` and ``--config-name`` where they were given, ``hydra.searchpath``, then the
        overrides as typed. Folders inside the working folder are relative to it.
    """
    return [*_flags(hydra_config), *collapsed(hydra_config.overrides.task)]


def _flags(hydra_config: Any) -> Iterator[str]:
    runtime = hydra_config.runtime
    for source in runtime.config_sources:
        if source.schema == "file" and source.provider == "main" and Path(source.path).resolve() != CONF:
            yield f"{_FLAG}path={os.path.abspath(source.path)}"
        if source.provider == "command-line":
            yield f"{_FLAG}dir={_from_here(source.path, runtime.cwd)}"
    if hydra_config.job.config_name != CONFIG_NAME:
        yield f"{_FLAG}name={hydra_config.job.config_name}"
    yield from (word for word in hydra_config.overrides.hydra if is_search_path(word))


def _from_here(path: str, folder: str) -> str:
    """Path relative to a folder that holds it, so that equal studies in two places print equal commands."""
    return os.path.relpath(path, folder) if Path(path).is_relative_to(folder) else path


def is_search_path(word: str) -> bool:
    """Whether an override names further folders of configuration files."""
    return word.lstrip("+").startswith("hydra.searchpath=")


def own_places(words: Sequence[str]) -> list[str]:
    """List the folders of configuration files that a command names besides ``conf``.

    Examples
    --------
    >>> own_places(["--config-dir=/mine", "hydra.searchpath=[file:///more, pkg://theirs]", "seed=3"])
    ['/mine', '/more']
    """
    flags, overrides = split_flags(words)
    found = [flags[name] for name in ("config-dir", "config-path") if name in flags]
    for word in filter(is_search_path, overrides):
        parts = (part.strip(" []'\"") for part in word.partition("=")[2].split(","))
        found += [part.removeprefix("file://") for part in parts if "://" not in part or part.startswith("file://")]
    return found


def split_flags(words: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Part the flags among the words of a command from its overrides.

    Examples
    --------
    >>> split_flags(["--config-name=mine", "seed=3"])
    ({'config-name': 'mine'}, ['seed=3'])
    """
    flags, overrides = {}, []
    for word in words:
        name, _, value = word.partition("=")
        if word.startswith(_FLAG):
            flags[name.removeprefix("--")] = value
        else:
            overrides.append(word)
    return flags, overrides


_TEMPLATES = ("weights.path", "data.path.logits")
"""Settings that may hold ``{seed}``, which Hydra's grammar would read as a mapping."""


def quoted_names(word: str) -> str:
    """Quote the value of an override that names files with ``{seed}`` in them, so that none need be typed twice.

    Examples
    --------
    >>> quoted_names("weights.path=runs/seed{seed}.pt")
    "weights.path='runs/seed{seed}.pt'"
    """
    name, equals, value = word.partition("=")
    if not equals or name.lstrip("+") not in _TEMPLATES or "{" not in value or set(value) & set("'\"$"):
        return word
    quoted = (f"'{one.strip()}'" if "{" in one else one for one in value.split(","))
    return f"{name}={','.join(quoted)}"


@lru_cache(maxsize=1 << 16)
def shell_word(word: str) -> str:
    """Quote one override for a shell: single quotes, or double quotes around a value that contains single ones."""
    if "'" in word and not set(word) & set('"$`\\!'):
        return f'"{word}"'
    if any(mark in word for mark in "[]{}(),: ") and "'" not in word:
        return f"'{word}'"
    return shlex.quote(word)
