"""The names in a store at one moment, each folder listed once, when it is first asked for."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.engine.inventory.layout import COMPLETE, SHARD, shard_of

_SUFFIXES = (".partial", ".lock", ".replaced")
_OURS = re.compile(r"(.+-([0-9a-f]{12}))(\.partial|\.replaced)?")


@dataclass(frozen=True)
class Place:
    """Where an artifact lies or will lie, and what is there.

    Attributes
    ----------
    parent, name : str
        The folder that its folder is in, and that one's name.
    entry : os.DirEntry or None
        The finished folder; None where there is none.
    beside : frozenset of str
        Which of ``.partial``, ``.lock`` and ``.replaced`` lie beside it.
    """

    parent: str
    name: str
    entry: os.DirEntry[str] | None
    beside: frozenset[str]

    @property
    def folder(self) -> Path:
        """Its final folder."""
        return Path(self.parent, self.name)


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
        self._listed: dict[tuple[str, ...], dict[str, os.DirEntry[str]]] = {}
        self._names: dict[tuple[str, ...], dict[str, list[str]]] = {}
        self._places: dict[tuple[str, str, str], Place] = {}

    def stages(self) -> list[str]:
        """Name the stages, also former ones."""
        return sorted(name for name, entry in self._entries().items() if entry.is_dir() and not name.startswith("."))

    def place(self, stage: str, slug: str, key: str) -> Place:
        """Look an artifact up, once."""
        address = (stage, slug, key)
        if address not in self._places:
            self._places[address] = self._look(stage, slug, key)
        return self._places[address]

    def _look(self, stage: str, slug: str, key: str) -> Place:
        name, shard = f"{slug}-{key}", shard_of(key)
        inner: tuple[str, ...] = (stage, shard)
        sharded = shard in self._entries(stage)
        if sharded and (entry := self._entries(*inner).get(name)) is not None and entry.is_dir():
            return self._at(inner, name, entry, self._entries(*inner))  # the place of nearly all
        there: list[tuple[tuple[str, ...], str]] = [((stage,), one) for one in self._named(key, stage)]
        if sharded:
            there += [(inner, one) for one in self._named(key, stage, shard)]
        if len(there) > 1:  # what is finished comes first, then what has its name of today
            there.sort(key=lambda at: (at[1] not in self._entries(*at[0]), at[1] != name))
        inner, name = there[0] if there else (inner, name)
        entries = self._entries(*inner) if there or sharded else {}
        entry = entries.get(name)
        return self._at(inner, name, entry if entry is not None and entry.is_dir() else None, entries)

    def _at(
        self, inner: tuple[str, ...], name: str, entry: os.DirEntry[str] | None, entries: Mapping[str, object]
    ) -> Place:
        beside = frozenset([suffix for suffix in _SUFFIXES if name + suffix in entries])
        return Place(os.path.join(self.root, *inner), name, entry, beside)

    def _named(self, key: str, *inner: str) -> list[str]:
        """Names under which an artifact is finished, begun or being replaced in a folder."""
        if inner not in self._names:
            found = self._names[inner] = {}
            for name in self._entries(*inner):
                if (ours := _OURS.fullmatch(name)) and ours[1] not in found.setdefault(ours[2], []):
                    found[ours[2]].append(ours[1])
        return self._names[inner].get(key, [])

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
        if inner not in self._listed:
            try:
                with os.scandir(os.path.join(self.root, *inner)) as entries:
                    self._listed[inner] = {entry.name: entry for entry in entries}
            except (FileNotFoundError, NotADirectoryError):
                self._listed[inner] = {}
        return self._listed[inner]
