"""What a reader is asked for: which of a file's columns is which of ours, and how labels and images are taken."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pipeline.config.data import ReadConfig
from pipeline.data.errors import DataError
from pipeline.machine.progress import say

NEEDED = {"image": ("image", "label"), "text": ("text", "label"), "vector": ()}
"""Columns without which rows of a kind do not go; vectors need columns of numbers and a label or a target."""
OPTIONAL = {"image": (), "text": ("domain", "group"), "vector": ()}
EVERY = "all"
"""Word of ``data.columns.x`` for every column that is nothing else."""
_PLAIN = re.compile(r"[A-Za-z_][\w./-]*")
_INDEX = re.compile(r"(Unnamed: \d+)?|__index_level_\d+__")
"""Names under which pandas and R write the numbers of rows."""
_MANY = 12
"""Columns from which on a message does not spell them out."""

Column = TypeVar("Column")


@dataclass
class Naming:
    """Which column of the files is which of ours.

    Attributes
    ----------
    columns : mapping
        ``data.columns``: our names to theirs.
    rename : mapping
        ``data.path.rename`` or ``data.hub.rename``: their names to ours.
    source : {"path", "hub"}
        Whose setting messages name.
    x : list of str or None
        Columns of numbers, settled by the first file, so that every other file is read in the same order.
    """

    columns: Mapping[str, Any] = field(default_factory=dict)
    rename: Mapping[str, str] = field(default_factory=dict)
    source: str = "path"
    x: list[str] | None = None

    @property
    def singles(self) -> dict[str, str]:
        """Our names to theirs, of columns that are one column."""
        return {ours: theirs for ours, theirs in self.columns.items() if ours not in ("x", "y")}

    def wanted(self, kind: str) -> set[str]:
        """Names of the columns that rows of a kind are read from; for vectors the file decides."""
        return {*NEEDED[kind], *OPTIONAL["text"], *self.rename, *self.rename.values(), *self.singles.values()}

    def theirs(self, ours: str) -> str:
        """Name that the files give to one of our columns."""
        return self.singles.get(ours) or {new: old for old, new in self.rename.items()}.get(ours, ours)

    def named(self, table: Mapping[str, Column], where: str) -> dict[str, Column]:
        """Give the columns of a table our names.

        Raises
        ------
        DataError
            If two columns would have one name, or a column that a setting names is not there.
        """
        for ours, theirs in self.singles.items():
            if theirs not in table:
                raise DataError(
                    f"{where}: data.columns.{ours} names the column {shown([theirs])}, but there is {shown(table)}."
                )
        chosen = {theirs: ours for ours, theirs in self.singles.items()}
        table = {name: column for name, column in table.items() if name in chosen or name not in self.singles}
        rename = {**self.rename, **chosen}
        for old, new in rename.items():
            if old in table:
                others = [name for name in table if name != old and rename.get(name, name) == new]
                if others:
                    raise DataError(
                        f"{where}: data.{self.source}.rename makes {shown([old])} the column {new}, but so is "
                        f"{shown(others)}; rename that one too, 'data.{self.source}.rename={{{others[0]}: other}}'."
                    )
            elif new not in table:
                raise DataError(
                    f"{where}: data.{self.source}.rename names the column {shown([old])}, but there is {shown(table)}."
                )
        return {rename.get(name, name): column for name, column in table.items()}

    def numbers(self, names: Sequence[str], where: str) -> tuple[list[str], list[str], str | None]:
        """Columns of the vector, of real targets, and the one of the label, as the file names them.

        Raises
        ------
        DataError
            If a column is not there, or there is neither label nor target.
        """
        y = _listed(self.columns.get("y", []))
        label = self.singles.get("label")
        if not y and label is None and self.theirs("label") in names:
            label = self.theirs("label")
        if "x" not in self.columns:
            raise DataError(f"{where}: which columns are the vector? {columns_way(self._example(names))} says so.")
        if not y and label is None:
            rest = [name for name in names if name not in _listed(self.columns["x"])]
            taken = self.columns["x"]
            raise DataError(
                f"{where} has {shown(names)}, and data.columns names neither a label nor a target. "
                f"{columns_way({'x': taken, 'label': rest[-1] if rest else names[-1]})} names the classes, y in place "
                "of label a target that is no class."
            )
        beside = {
            *y,
            *([label] if label else []),
            *(self.singles[one] for one in OPTIONAL["text"] if one in self.singles),
        }
        free = [name for name in names if name not in beside]
        index = [name for name in free if _INDEX.fullmatch(name)]
        if self.columns["x"] != EVERY:
            x = _listed(self.columns["x"])
        elif self.x is None:
            x = [name for name in free if name not in index]
            if index:
                say(
                    f"note: {where}: the column {', '.join(map(ascii, index))} has no name of its own, as the numbers "
                    "of rows that pandas writes, and is not read; data.columns.x takes it where it is named there"
                )
        else:
            x = self.x
        missing = [name for name in (*x, *y, *([label] if label else [])) if name not in names]
        if missing:
            raise DataError(
                f"{where}: data.columns names the column {shown(missing[:1])}, but there is {shown(names)}."
            )
        if not x:
            raise DataError(f"{where}: no column is left for data.columns.x; there is {shown(names)}.")
        if self.columns["x"] == EVERY and self.x is not None:
            if extra := [name for name in free if name not in index and name not in self.x]:
                say(f"note: {where}: {shown(extra)} is not read, since the first file has no such column")
        self.x = x
        return x, y, label

    def without(self, name: str) -> str:
        """Say how a column is left out of the vector."""
        rest = [one for one in self.x or () if one != name]
        if name not in (self.x or ()) or not 0 < len(rest) <= _MANY:
            return "name the columns of numbers in data.columns"
        return f"{columns_way({**self.columns, 'x': rest if len(rest) > 1 else rest[0]})} leaves the column out"

    def way(self, kind: str, names: Sequence[str]) -> str:
        """Sentence on how the columns that are missing get their names, with the names of this file."""
        missing = [name for name in NEEDED[kind] if self.theirs(name) not in names]
        for ours in missing:
            near = [name for name in names if name != ours and name.strip().casefold() == ours]
            if near and near[0] != near[0].strip():
                return f"Take the blanks out of the name {ascii(near[0])}."
        sentence = f"{columns_way(self._guess(missing, kind, names))} names them"
        if kind == "text" and "text" in missing:
            return f"{sentence}; {columns_way(self._example(names))} takes columns of numbers."
        return f"{sentence}."

    def _guess(self, missing: Sequence[str], kind: str, names: Sequence[str]) -> dict[str, str]:
        """Pair the columns that are missing with those of the file that are nothing yet: first with first."""
        guess = {ours: theirs for ours, theirs in self.singles.items() if theirs in names}
        free = [name for name in names if name not in guess.values() and name not in NEEDED[kind]]
        for place, ours in enumerate(missing):
            near = [name for name in free if name.strip().casefold() == ours]
            last = ours == "label" and len(missing) - place == 1
            theirs = (
                near or (free[-1:] if last else free[:1]) or [{"image": "img", "text": "sentence"}.get(ours, ours)]
            )[0]
            guess[ours] = theirs
            free = [name for name in free if name != theirs]
        return guess

    def _example(self, names: Sequence[str]) -> dict[str, Any]:
        label = self.theirs("label") if self.theirs("label") in names else names[-1] if names else "label"
        return {"x": EVERY, "label": label}


@dataclass(frozen=True)
class Reading:
    """What a reader is asked for.

    Attributes
    ----------
    kind : {"image", "text", "vector"}
        What the rows are.
    split : str
        The split that the file belongs to; also the domain of texts that have none.
    naming : Naming
        Which column is which.
    read : ReadConfig
        How labels and images are taken.
    delimiter : str
        ``data.path.delimiter``.
    """

    kind: str
    split: str
    naming: Naming
    read: ReadConfig
    delimiter: str = "comma"

    def where(self, path: Path) -> str:
        """File and split, for messages."""
        return f"{path}, split {self.split!r}"


def columns_way(columns: Mapping[str, Any]) -> str:
    """Write ``data.columns`` as it is typed in a shell."""
    words = ", ".join(f"{ours}: {_word(theirs)}" for ours, theirs in columns.items())
    return "'data.columns={" + words + "}'"


def shown(names: Iterable[str]) -> str:
    """Column names of a stranger's file, inert in a terminal."""
    return ", ".join(name if name.isprintable() else ascii(name) for name in names)


def _word(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_word, value))}]"
    if _PLAIN.fullmatch(value):
        return value
    return '"' + re.sub(r'(\\*)("|$)', lambda found: found[1] * 2 + ('\\"' if found[2] else ""), value) + '"'


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)
