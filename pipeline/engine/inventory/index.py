"""The index of a store: one SQLite file that holds what its finished artifacts say of themselves.

It is never the truth. A row counts only for the very folder that it was read from (same inode, same times) and only if
it has its own checksum; everything else is read from the folders. So an index that is old, damaged, of another store or
gone costs time and changes no answer. The file is not written in place: whoever has read many new folders writes a new
file and gives it the name in one step. Nobody waits, and no lock of a network file system is needed.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import xxhash

from pipeline.engine.artifacts import Artifact
from pipeline.engine.inventory.collections_wait import collections_wait
from pipeline.engine.inventory.record import Record, record_of
from pipeline.machine.progress import say

if TYPE_CHECKING:
    import sqlite3

INDEX = ".index.sqlite"
UNFINISHED = ".index-*.new"
"""Names of files that are being written, or were when their process was killed."""
_LAYOUT = 2
"""Raised when the table or a checksum changes; an index of another layout is not read."""
_COLUMNS: tuple[str, ...] = (
    "stage",
    "name",
    "stamp",
    "made",
    "version",
    "size",
    "payload",
    "command",
    "provenance",
    "code",
    "settings",
)
_COLUMNS += ("metrics", "tables", "checksum")
_SEVERAL = 200
"""Of more artifacts, the whole table is read, not each row by its name."""
WORTH = 32
"""Changed rows for which an index is written, at least; and a twentieth of those that it has."""
_MANY = 2000
"""Folders whose reading takes long enough to say so."""
_READERS = 8

Address = tuple[str, str]
Row = tuple[Any, ...]
_said: set[tuple[Path, str]] = set()


@collections_wait()
def records_of(
    root: Path, entries: Sequence[tuple[str, os.DirEntry[str]]], *, whole: bool = False
) -> dict[Address, Record]:
    """Give the records of finished artifacts, from the index where it has them, and keep that up to date.

    Parameters
    ----------
    root : Path
        The store.
    entries : sequence of (stage, os.DirEntry)
        Their folders, as :class:`pipeline.engine.inventory.listing.Listing` finds them.
    whole : bool
        Whether these are all of the store, so that the index may forget any other.

    Returns
    -------
    dict
        By stage and name; a folder that has gone meanwhile is left out.
    """
    stats: dict[Address, tuple[str, os.stat_result]] = {}
    for stage, entry in entries:
        with contextlib.suppress(FileNotFoundError):
            stats[stage, entry.name] = (entry.path, entry.stat())
    if not stats and not whole:
        return {}
    rows, code, known = _load(root / INDEX, None if whole or len(stats) > _SEVERAL else list(stats))
    found: dict[Address, Record] = {}
    for address, (path, stat) in stats.items():
        row = rows.get(address)
        if row is not None and row[2] == _stamp(stat) and row[-1] == _checksum(row[:-1]):
            record = _record(path, row, code)
            if record is not None:
                found[address] = record
    fresh = _read({address: at for address, at in stats.items() if address not in found})
    gone = rows.keys() - stats.keys() if whole else set()
    if len(fresh) + len(gone) >= max(WORTH, known // 20):
        _save(root / INDEX, [(one, stats[address][1]) for address, one in fresh.items() if _storable(one)], gone)
    found |= fresh
    return {address: found[address] for address in stats if address in found}


def _read(places: Mapping[Address, tuple[str, os.stat_result]]) -> dict[Address, Record]:
    """Read records from the folders."""
    lists: dict[tuple[tuple[str, str], ...], dict[str, str]] = {}

    def one(address: Address) -> Record:
        path, stat = places[address]
        record = record_of(Artifact(Path(path)), stat.st_mtime)
        code = record.provenance.get("code")
        if isinstance(code, dict) and isinstance(files := code.get("files"), dict):  # the same object for equal ones
            code["files"] = lists.setdefault(tuple((name, str(one)) for name, one in files.items()), files)
        return record

    if len(places) >= _MANY:
        say(f"reading what {len(places)} artifacts say of themselves, for the index of the store")
    begun, used = time.perf_counter(), time.thread_time()
    found = {address: one(address) for address in list(places)[:WORTH]}
    waited = time.perf_counter() - begun > 3 * (time.thread_time() - used)
    rest = list(places)[WORTH:]
    if not waited:
        return found | {address: one(address) for address in rest}
    with ThreadPoolExecutor(_READERS) as pool:  # a network disk answers several at the same time
        return found | dict(zip(rest, pool.map(one, rest), strict=True))


def _stamp(stat: os.stat_result) -> str:
    """Tell a folder from every other that had or will have its name; renaming it in changes its time too."""
    return f"{stat.st_ino}:{stat.st_mtime_ns}:{stat.st_ctime_ns}"


def _checksum(row: Row) -> str:
    return xxhash.xxh3_64_hexdigest(repr(row).encode("utf-8", "surrogatepass"))


def _load(path: Path, wanted: list[Address] | None) -> tuple[dict[Address, Row], dict[str, dict[str, str]], int]:
    """Read rows, all or those of some artifacts, the file lists that they refer to, and how many rows there are.

    The file is opened without locks, which is sound since nobody changes it: a new one takes its name.
    """
    import sqlite3

    if not path.is_file():
        return {}, {}, 0
    try:
        address = f"file:{quote(os.path.abspath(path))}?mode=ro&immutable=1"
        with contextlib.closing(sqlite3.connect(address, uri=True)) as index:
            if index.execute("PRAGMA user_version").fetchone() != (_LAYOUT,):
                return {}, {}, 0
            (known,) = index.execute("SELECT count(*) FROM artifact").fetchone()
            found = {row[:2]: row for row in _select(index, wanted)}
            code = {
                ref: json.loads(text) for ref, text in index.execute("SELECT * FROM code") if ref == _checksum((text,))
            }
            return found, code, known
    except (sqlite3.Error, ValueError, TypeError, RecursionError) as error:
        _say_once(path, f"{path} cannot be read ({error}): the folders are read in its place, and it is made anew")
        return {}, {}, 0


def _select(index: sqlite3.Connection, wanted: list[Address] | None) -> Iterator[Row]:
    columns = f"SELECT {', '.join(_COLUMNS)} FROM artifact"
    if wanted is None:
        yield from index.execute(columns)
        return
    for address in wanted:
        yield from index.execute(f"{columns} WHERE stage = ? AND name = ?", address)


def _record(path: str, row: Row, code: Mapping[str, dict[str, str]]) -> Record | None:
    """Turn a row into a record; None where it refers to a file list that the index lost."""
    stage, name, _, made, version, size, payload, command, provenance, ref, settings, metrics, tables, _ = row
    record = json.loads(provenance)
    if ref:
        if ref not in code:
            return None
        record["code"]["files"] = code[ref]
    record["command"] = command
    return Record(
        stage, name, path, made, version, size, payload, record, "", settings, metrics, tuple(json.loads(tables))
    )


def _row(record: Record, stat: os.stat_result, lists: dict[int, tuple[str, str]]) -> Row:
    """Give a row; the file list that it refers to, one for thousands of artifacts, goes to ``lists`` with its name."""
    provenance = {name: value for name, value in record.provenance.items() if name != "command"}
    code, ref = provenance.get("code"), ""
    if isinstance(code, dict) and isinstance(code.get("files"), dict):
        if id(code["files"]) not in lists:
            text = json.dumps(code["files"])
            lists[id(code["files"])] = (_checksum((text,)), text)
        ref = lists[id(code["files"])][0]
        provenance["code"] = {name: value for name, value in code.items() if name != "files"}
    values = (record.stage, record.name, _stamp(stat), record.made, record.version, record.size, record.payload)
    row = (
        *values,
        record.command,
        json.dumps(provenance),
        ref,
        record.settings_text,
        record.metrics_text,
        json.dumps(record.tables),
    )
    return (*row, _checksum(row))


def _storable(record: Record) -> bool:
    """Whether a row can hold it: a damaged artifact is read each time, and SQLite takes Unicode alone."""
    try:
        f"{record.name} {record.command}".encode()
    except UnicodeEncodeError:
        return False
    return not record.problem


def _save(path: Path, fresh: Sequence[tuple[Record, os.stat_result]], gone: Collection[Address]) -> None:
    """Write a new index from the old one and what was read, and give it the name in one step."""
    import sqlite3

    new = path.with_name(UNFINISHED.replace("*", f"{socket.gethostname()}-{os.getpid()}"))
    try:
        new.unlink(missing_ok=True)
        new.touch(mode=0o666, exist_ok=False)
        try:
            _write(new, path, fresh, gone)
        except sqlite3.Error:  # the old one is damaged: without it
            new.write_bytes(b"")
            _write(new, None, fresh, gone)
        new.replace(path)
    except (OSError, sqlite3.Error) as error:
        reason = getattr(error, "strerror", None) or error
        _say_once(path, f"{path} cannot be written ({reason}): every look reads the folders themselves")
        with contextlib.suppress(OSError):
            new.unlink(missing_ok=True)


def _write(
    new: Path, old: Path | None, fresh: Sequence[tuple[Record, os.stat_result]], gone: Collection[Address]
) -> None:
    import sqlite3

    if old is not None and old.is_file():
        shutil.copyfile(old, new)
    with contextlib.closing(sqlite3.connect(new)) as index:
        index.execute("PRAGMA journal_mode = OFF")
        index.execute("PRAGMA synchronous = OFF")
        if index.execute("PRAGMA user_version").fetchone() != (_LAYOUT,):
            for table in ("artifact", "code"):
                index.execute(f"DROP TABLE IF EXISTS {table}")
            index.execute(f"CREATE TABLE artifact ({', '.join(_COLUMNS)}, PRIMARY KEY (stage, name)) WITHOUT ROWID")
            index.execute("CREATE TABLE code (ref PRIMARY KEY, files)")
            index.execute(f"PRAGMA user_version = {_LAYOUT}")
        lists: dict[int, tuple[str, str]] = {}
        rows = [_row(record, stat, lists) for record, stat in fresh]
        index.executemany(f"INSERT OR REPLACE INTO artifact VALUES ({','.join('?' * len(_COLUMNS))})", rows)
        index.executemany("INSERT OR REPLACE INTO code VALUES (?, ?)", list(lists.values()))
        index.executemany("DELETE FROM artifact WHERE stage = ? AND name = ?", list(gone))
        index.commit()


def _say_once(path: Path, words: str) -> None:
    if (path, words) not in _said:
        _said.add((path, words))
        say(words)
