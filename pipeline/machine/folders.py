"""Folders and files that settings name: ``~`` is the home folder everywhere, and ``{seed}`` a run's own seed."""

from __future__ import annotations

import dataclasses
import glob
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

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


STEP = "step"
_FIELD = re.compile(r"\{([^{}:]*)(?::(0?\d+))?\}")


def holds_field(template: str, name: str) -> bool:
    """Whether a name of files has a place for a seed or a step.

    Examples
    --------
    >>> holds_field("runs/seed{seed}.pt", "seed"), holds_field("runs/{seed:03}.pt", "step")
    (True, False)
    """
    return any(found[1] == name for found in _FIELD.finditer(template))


def named_files(setting: str, template: str, config: RunConfig) -> dict[int | None, Path]:
    """Find the files that a setting names for one run.

    Parameters
    ----------
    setting : str
        Name of the setting, for messages.
    template : str
        Its value: ``{seed}`` stands for the run's seed, ``{step}`` for any number, another name in braces for that
        setting, and ``*`` for any part of a name. ``{seed:03}`` fills with zeros.
    config : RunConfig
        The run.

    Returns
    -------
    dict of int or None to Path
        By step, ascending; None is the key of the one file of a name without ``{step}``.

    Raises
    ------
    UserError
        If nothing has that name, a name in braces is no setting, or two files fit.
    """
    pattern, shape = "", ""
    steps, last = 0, 0
    text = str(user_path(template))
    for found in _FIELD.finditer(text):
        pattern, shape = _joined(pattern, shape, text[last : found.start()].split("*"))
        last = found.end()
        if found[1] == STEP:
            pattern, shape = f"{pattern}*", shape + (r"(?P=step)" if steps else r"(?P<step>\d+)")
            steps += 1
        else:
            pattern, shape = _joined(pattern, shape, [_value(setting, template, found, config)])
    pattern, shape = _joined(pattern, shape, text[last:].split("*"))
    fits = re.compile(shape)
    matches = sorted(path for path in glob.glob(pattern) if fits.fullmatch(path))
    by_step: dict[int | None, list[Path]] = {}
    for path in matches:
        step = int(fits.fullmatch(path)["step"]) if steps else None  # type: ignore[index]
        by_step.setdefault(step, []).append(Path(path))
    for several in by_step.values():
        if len(several) > 1:
            raise UserError(
                f"{setting}={template} fits {several[0]} and {several[1]} alike; spell out what stands for the *."
            )
    if not by_step:
        raise UserError(_nothing(setting, template, _readable(pattern), config))
    return {step: by_step[step][0] for step in sorted(by_step, key=lambda step: step or 0)}


def run_file(setting: str, template: str, config: RunConfig, step: int | None = None) -> Path:
    """Give the one file of a run; of several steps the asked one, or the last.

    Raises
    ------
    UserError
        If there is none, or none of that step.
    """
    found = named_files(setting, template, config)
    if step is None or None in found:
        return list(found.values())[-1]
    if step not in found:
        raise UserError(
            f"{setting}={template} has no file of step {step} for seed {config.seed}; it has those of "
            f"{_listed([one for one in found if one is not None])}."
        )
    return found[step]


def _joined(pattern: str, shape: str, parts: Sequence[str]) -> tuple[str, str]:
    """Add parts of a name to a glob and to a regular expression; between two parts anything within one folder fits."""
    return pattern + "*".join(map(glob.escape, parts)), shape + "[^/]*".join(map(re.escape, parts))


def _value(setting: str, template: str, found: re.Match[str], config: RunConfig) -> str:
    """Spell the setting that a name in braces stands for."""
    value: Any = config
    for part in found[1].split("."):
        names = {field.name for field in dataclasses.fields(value)} if dataclasses.is_dataclass(value) else ()
        if part not in names:
            raise UserError(
                f"{setting}={template} holds {found[0]}, which is no setting of this run; write {{seed}}, {{step}} or "
                "the name of one, such as {model.name}."
            )
        value = getattr(value, part)
    if dataclasses.is_dataclass(value) or isinstance(value, (Mapping, Sequence)) and not isinstance(value, str):
        raise UserError(f"{setting}={template} holds {found[0]}, which is no single value.")
    if not found[2]:
        return str(value)
    if not isinstance(value, int):
        raise UserError(f"{setting}={template} holds {found[0]}, but {found[1]}={value} is no whole number to fill.")
    return format(value, found[2])


def _nothing(setting: str, template: str, where: str, config: RunConfig) -> str:
    """Say that a run has no file, and what lies there instead."""
    text = f"{setting}={template}: there is no file {where} for seed {config.seed}"
    parts = _FIELD.sub("*", str(user_path(template))).split("*")
    if beside := sorted(glob.glob("*".join(map(glob.escape, parts)))):
        return f"{text}; there are {_listed(beside)}. Choose seeds that have one, such as 'cells.seed=[0]'."
    folder = next(one for one in (Path(where).parent, *Path(where).parents) if one.is_dir() or one == Path())
    inside = sorted(one.name for one in folder.iterdir() if not one.name.startswith("."))
    return (
        f"{text}. The folder {folder} holds {_listed(inside) or 'nothing'}; write {{seed}} where names hold the seed."
    )


def _readable(pattern: str) -> str:
    """Undo the escapes of a glob."""
    return re.sub(r"\[([*?[])\]", r"\1", pattern)


def _listed(values: Sequence[object]) -> str:
    return ", ".join(map(str, values[:8])) + (f" and {len(values) - 8} more" if len(values) > 8 else "")
