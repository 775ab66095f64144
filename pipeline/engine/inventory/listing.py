"""The names in a store at one moment, each folder listed once, when it is first asked for."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.engine.inventory.layout import COMPLETE, SHARD, shard_of

_OURS = re.compile(r"(.+-([0-9a-f]{12}))(\.partial|\.replaced)?")


@dataclass(frozen=True)
class Place:
    """Where an artifact lies or will lie, and what is there.

    Attributes
    ----------
    folder : Path
        Its final folder.
    entry : os.DirEntry or None
        The finished folder; None where there is none.
    beside : frozenset of str
        Which of ``.partial``, ``.lock`` and ``.replaced`` lie beside it.
    """

    folder: Path
    entry: os.DirEntry[str] | None
    beside: frozenset[str]


class Listing:
    """What the folders of a store contained when they were first looked at.

    Ten artifacts cost at most ten small folders to list, ten thousand of one stage at most 257. An artifact is known by
    its key: the readable part of its name may be of an earlier version, and so may its place.

    Parameters
    ----------
    root : Path
        The store; it need not exist.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._listed: dict[str, dict[str, os.DirEntry[str]]] = {}
        self._names: dict[str, dict[str, list[str]]] = {}

    def stages(self) -> list[str]:
        """Name the stages, also former ones."""
        return sorted(name for name, entry in self._entries().items() if entry.is_dir() and not name.startswith("."))

    def place(self, stage: str, slug: str, key: str) -> Place:
        """Look an artifact up."""
        name, shard = f"{slug}-{key}", shard_of(key)
        folders = [(stage,), (stage, shard)] if shard in self._entries(stage) else [(stage,)]
        there = [(inner, one) for inner in folders for one in self._named(key, *inner)]
        there.sort(
            key=lambda at: (at[1] not in self._entries(*at[0]), at[1] != name)
        )  # what is finished, then its name
        inner, name = there[0] if there else ((stage, shard), name)
        entries = self._entries(*inner) if there or shard in self._entries(stage) else {}
        entry = entries.get(name)
        beside = frozenset(suffix for suffix in (".partial", ".lock", ".replaced") if name + suffix in entries)
        folder = self.root.joinpath(*inner, name)
        return Place(folder, entry if entry is not None and entry.is_dir() else None, beside)

    def _named(self, key: str, *inner: str) -> list[str]:
        """Names under which an artifact is finished, begun or being replaced in a folder."""
        path = os.path.join(*inner)
        if path not in self._names:
            found = self._names[path] = {}
            for name in self._entries(*inner):
                if (ours := _OURS.fullmatch(name)) and ours[1] not in found.setdefault(ours[2], []):
                    found[ours[2]].append(ours[1])
        return self._names[path].get(key, [])

    def everything(self, stage: str) -> Iterator[os.DirEntry[str]]:
        """Yield every entry of a stage, those of its inner folders in place of these, by name."""
        found: list[os.DirEntry[str]] = []
        for name, entry in self._entries(stage).items():
            inner = SHARD.fullmatch(name) and entry.is_dir(follow_symlinks=False)
            found += self._entries(stage, name).values() if inner else [entry]
        yield from sorted(found, key=lambda entry: (entry.name, entry.path))

    def finished(self, stage: str) -> list[os.DirEntry[str]]:
        """List the entries of a stage that carry a complete name."""
        return [entry for entry in self.everything(stage) if COMPLETE.fullmatch(entry.name) and entry.is_dir()]

    def _entries(self, *inner: str) -> dict[str, os.DirEntry[str]]:
        path = os.path.join(self.root, *inner)
        if path not in self._listed:
            try:
                with os.scandir(path) as entries:
                    self._listed[path] = {entry.name: entry for entry in entries}
            except (FileNotFoundError, NotADirectoryError):
                self._listed[path] = {}
        return self._listed[path]
