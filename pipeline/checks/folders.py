"""Settings that become paths: folders that can be used, and names that stay inside the store."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from pipeline.config.run import RunConfig
from pipeline.errors import UserError
from pipeline.machine.folders import user_path

LONGEST = 100
"""Bytes of a name: a folder's name adds a model, a seed, a key and an ending, and holds 255 at most."""
_LONGEST_PART = 255
_VARIABLE = re.compile(r"(?:^|/)\$\{?\w")
_KERNELS_OWN = ("/proc", "/sys", "/dev")
"""Folders of the operating system's kernel, which keeps no file there; but for shared memory below the last."""
_SHARED_MEMORY = "/dev/shm"
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def name_problems(config: RunConfig) -> Iterator[str]:
    """Yield one sentence for each name that cannot be a part of a file's name.

    Examples
    --------
    >>> config = RunConfig(experiment_name="../elsewhere")
    >>> list(name_problems(config))
    ["experiment_name='../elsewhere' holds a slash, so it cannot be part of a file's name; choose another."]
    """
    words = {"experiment_name": config.experiment_name, "data.name": config.data.name}
    # A slash such as that of "[/x]" becomes another character in a folder's name; a way elsewhere is refused.
    names = {setting: name if _leads_elsewhere(name) else name.replace("/", "_") for setting, name in words.items()}
    names |= {f"data.path.extra, split {name!r}": name for name in config.data.path.extra}
    names |= {f"data.hub.splits, split {name!r}": name for name in config.data.hub.splits}
    for setting, name in names.items():
        fault = _fault(name)
        if fault is not None:
            shown = setting if "split" in setting else f"{setting}={name!r}"
            yield f"{shown} {fault}, so it cannot be part of a file's name; choose another."


def _leads_elsewhere(name: str) -> bool:
    return name.startswith("/") or bool({"..", "."} & set(name.split("/")))


def _fault(name: str) -> str | None:
    if not name.strip():
        return "is empty"
    if "/" in name or "\\" in name:
        return "holds a slash"
    if name.startswith("."):
        return "begins with a dot"
    if _CONTROL.search(name):
        return "holds a control character"
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        return "is not text"
    return f"is longer than {LONGEST} bytes" if size > LONGEST else None


def folder_problems(config: RunConfig) -> Iterator[str]:
    """Yield one sentence for each path setting that names no usable path."""
    paths: dict[str, str | None] = {
        "paths.store": config.paths.store,
        "paths.cache": config.paths.cache,
        "paths.scratch": config.paths.scratch,
        "logging.folder": config.logging.folder,
        "data.path.train": config.data.path.train,
        "data.path.test": config.data.path.test,
        "data.path.val": config.data.path.val,
        **{f"data.path.extra.{split}": value for split, value in config.data.path.extra.items()},
        "data.hub.id": config.data.hub.id,
        "data.text.tokenizer_path": config.data.text.tokenizer_path,
        "model.path": getattr(config.model, "path", None),
        "model.hub": getattr(config.model, "hub", None),
        "weights.path": config.weights.path,
        "data.path.logits": config.data.path.logits,
        "data.path.labels": config.data.path.labels,
    }
    for setting, text in paths.items():
        fault = None if text is None else _unspelled(text)
        if fault is not None:
            yield f"{setting}={text!r} {fault}"
        elif text is not None and setting in ("paths.store", "paths.scratch"):
            yield from _no_folder(setting, user_path(text))
        elif text is not None and setting in ("paths.cache", "logging.folder"):
            yield from _no_place(setting, user_path(text))


def _unspelled(text: str) -> str | None:
    """Say what is wrong with the spelling of a path; None where nothing is."""
    if not text.strip():
        return "is empty; name a folder or file."
    if _CONTROL.search(text):
        return "holds a control character; choose another path."
    if _VARIABLE.search(text):
        return "holds a variable, which only a shell replaces: leave the single quotes out, or write ~ for your home."
    try:
        user_path(text)
    except UserError as error:
        return f"names a home folder that does not exist ({error.__cause__}); write the whole path."
    return None


def _no_place(setting: str, folder: Path) -> Iterator[str]:
    """Yield why no file stays in a folder: it belongs to the operating system's kernel."""
    place = Path(os.path.realpath(folder))
    for owner in _KERNELS_OWN:
        if place.is_relative_to(owner) and not place.is_relative_to(_SHARED_MEMORY):
            yield f"{setting}={folder}: {owner} belongs to the operating system and keeps no files; name another."


def _no_folder(setting: str, folder: Path) -> Iterator[str]:
    """Yield why a folder, which need not exist, cannot be one."""
    if owned := list(_no_place(setting, folder)):
        yield from owned
        return
    if any(len(os.fsencode(part)) > _LONGEST_PART for part in folder.parts):
        yield f"{setting} has a part of more than {_LONGEST_PART} bytes, which no file system takes; choose another."
        return
    for place in (folder, *folder.parents):
        if place.is_symlink() and not place.exists():
            goal = os.readlink(place)
            yield f"{setting}={folder}: {place} is a link to {goal}, which does not exist; make that folder."
            return
        if place.exists():
            if not place.is_dir():
                yield f"{setting}={folder}: {place} is a file, not a folder; name another one."
            return
