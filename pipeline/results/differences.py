"""``stage=diff``: settings, numbers, inputs, code and files in which two artifacts differ, of one store or of two."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.config.run import RunConfig
from pipeline.engine.artifacts import Artifact, Store
from pipeline.engine.graph import Graph
from pipeline.engine.inventory.layout import COMPLETE, stage_folder
from pipeline.engine.inventory.record import Record
from pipeline.errors import UserError
from pipeline.machine.folders import user_path
from pipeline.machine.progress import say
from pipeline.results.chosen import Chosen, choose
from pipeline.results.files import kind_of, put
from pipeline.results.numbers import numbers_of
from pipeline.results.table import made_at

_KEY = re.compile(r"[0-9a-f]{1,12}")
_WAY = "write 'between=[KEY1,KEY2]'; stage=list shows the keys"
Side = tuple[Chosen, Record]
Row = tuple[str, str, str, str, float | None]


def show_differences(graph: Graph, store: Store, config: RunConfig) -> None:
    """Show or write what differs between the two artifacts that ``between`` names.

    Parameters
    ----------
    graph : Graph
        Its overrides hold the keys as they were typed.
    store : Store
        Where a key without a store is looked up.
    config : RunConfig
        ``between`` and ``out`` are read.

    Raises
    ------
    UserError
        If ``between`` does not name two artifacts.
    """
    import pyarrow as pa

    if config.out is not None:
        kind_of(config.out)
    words = as_typed(config.between, graph.overrides)
    if len(words) != 2:
        raise UserError(f"stage=diff compares two artifacts, and between names {len(words)}: {_WAY}.")
    known: dict[Path, Chosen] = {}
    sides = [_find(word, store, known) for word in words]
    for place, (_, record) in zip(("first", "second"), sides, strict=True):
        say(f"{place}: {record.stage} {record.name}, made {made_at(record):%Y-%m-%d %H:%M:%SZ}, in {record.folder}")
    rows = list(differences(*sides))
    if not rows:
        say("nothing differs: settings, inputs, numbers and files are equal")
        if config.out is None:
            return
    kinds = (("what", pa.string()), ("name", pa.string()), ("first", pa.string()), ("second", pa.string()))
    columns = {name: pa.array([row[i] for row in rows], kind) for i, (name, kind) in enumerate(kinds)}
    columns["change"] = pa.array([row[4] for row in rows], pa.float64())
    put(pa.table(columns), config.out)


def as_typed(between: Sequence[str], overrides: Sequence[str]) -> list[str]:
    """Give the entries of ``between`` as they were typed: to Hydra, a key such as ``12e456789012`` is a number.

    Examples
    --------
    >>> as_typed(["inf", "0f"], ["stage=diff", "between=[12e456789012, '0f']"])
    ['12e456789012', '0f']
    """
    typed = [word.partition("=")[2] for word in overrides if word.lstrip("+").startswith("between=")]
    words = [part.strip().strip("'\"") for part in typed[-1].strip().strip("[]").split(",")] if typed else []
    return words if len(words) == len(between) else list(between)


def _find(word: str, store: Store, known: dict[Path, Chosen]) -> Side:
    """Find the artifact that a word names: a key or its beginning, such a key in another store, or a folder."""
    place, _, key = word.rstrip("/").rpartition("/")
    folder = user_path(word)
    if COMPLETE.fullmatch(folder.name) and folder.is_dir():
        folder = folder.absolute()
        place, key = str(stage_folder(folder).parent), folder.name[-12:]
    root = user_path(place) if place else store.root
    if not _KEY.fullmatch(key):
        raise UserError(f"between holds {word!r}, which is neither a key nor the folder of an artifact: {_WAY}.")
    if not root.is_dir():
        raise UserError(f"between holds {word!r}, and there is no store {root}.")
    if root not in known:
        known[root] = choose(Store(root))
    found = [one for one in known[root].records if one.key.startswith(key)]
    if not found:
        raise UserError(f"between holds {word!r}, and {root} has no finished artifact whose key begins so: {_WAY}.")
    if len(found) > 1:
        names = ", ".join(f"{one.stage} {one.name}" for one in found[:4])
        raise UserError(f"between holds {word!r}, with which {len(found)} keys begin ({names}): write more digits.")
    if found[0].problem:
        raise UserError(found[0].problem)
    return known[root], found[0]


def differences(first: Side, second: Side) -> Iterator[Row]:
    """Yield (what, name, first, second, change) of everything that differs; the change is that of numbers.

    Parameters
    ----------
    first, second : tuple of Chosen and Record
        An artifact, and the records of its store.
    """
    (one_store, one), (other_store, other) = first, second
    for name in ("stage", "version"):
        yield from _pair(name, "", getattr(one, name), getattr(other, name))
    yield from _pairs("setting", _all_settings(one_store, one), _all_settings(other_store, other))
    yield from _pairs("input", *(inputs_by_stage(record) for record in (one, other)))
    numbers = [_numbers(record) for record in (one, other)]
    for what in dict.fromkeys([*numbers[0], *numbers[1]]):
        a, b = numbers[0].get(what), numbers[1].get(what)
        if a != b and not (a is not None and b is not None and a != a and b != b):
            change = b - a if a is not None and b is not None else None
            yield "number", what, _shown(a), _shown(b), change
    files = [{name: entry["sha256"][:12] for name, entry in _manifest(record).items()} for record in (one, other)]
    yield from _pairs("file", *files)
    yield from _pairs("library", *(_part(record, "code", "libraries") for record in (one, other)))
    code = [_part(record, "code", "files") for record in (one, other)]
    changed = [row[1] for row in _pairs("", *code)]
    if changed:
        yield "code", f"{len(changed)} files, such as {changed[0]}", _commit(one), _commit(other), None
    yield from _pair("host", "", one.provenance.get("host"), other.provenance.get("host"))


def _pairs(what: str, one: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[Row]:
    for name in dict.fromkeys([*one, *other]):
        yield from _pair(what, name, one.get(name, _Absent), other.get(name, _Absent))


class _Absent:
    """Stands for what one side does not have."""


def _pair(what: str, name: str, one: Any, other: Any) -> Iterator[Row]:
    if one != other:
        yield what, name, _shown(one), _shown(other), None


def _shown(value: Any) -> str:
    if value is _Absent or value is None:
        return "–" if value is _Absent else "null"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _all_settings(chosen: Chosen, record: Record) -> dict[str, Any]:
    """Collect its settings and those of what it rests on, its own last; a setting at its first value is there too."""
    found: dict[str, Any] = {}
    for upstream in chosen.upstream(record):
        found |= _all_settings(chosen, upstream)
    return found | chosen.first_values(record.stage) | chosen.own_settings(record)


def inputs_by_stage(record: Record) -> dict[str, str]:
    """Keys of its inputs by stage; of several of one stage, how many and which digest they have."""
    from pipeline.engine.keys import digest

    inputs = record.provenance.get("inputs")
    by_stage: dict[str, list[str]] = {}
    for name in inputs if isinstance(inputs, dict) else ():
        by_stage.setdefault(name.partition("/")[0], []).append(name[-12:])
    several = {stage: f"{len(keys)} of digest {digest(sorted(keys))}" for stage, keys in by_stage.items()}
    return {stage: keys[0] if len(keys) == 1 else several[stage] for stage, keys in by_stage.items()}


def _numbers(record: Record) -> dict[str, float]:
    found = {}
    for number in numbers_of(record):
        words = f" ({number.entry})" if number.entry else ""
        where = "" if number.row is None else f"{number.table}[{number.row}]{words} "
        found[f"{where}{number.quantity}"] = number.value
    return found


def _manifest(record: Record) -> dict[str, dict[str, Any]]:
    return Artifact(record.folder).manifest["files"]


def _part(record: Record, *names: str) -> dict[str, Any]:
    found: Any = record.provenance
    for name in names:
        found = found.get(name) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}


def _commit(record: Record) -> str:
    commit = record.provenance.get("commit")
    return commit[:7] if isinstance(commit, str) else "–"
