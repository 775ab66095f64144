"""``stage=gc``: what interrupted and failed commands have left in a store, its scratch and its cache.

Finished artifacts are never among it, nor anything that a process is at work in. Without ``gc_delete=true`` it is only
listed; with it, each thing is deleted under its owner lock, and no link is followed. Finished artifacts that nothing
needs any more are listed beside it, and deleted only with ``gc_finished=true`` as well.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.config.run import RunConfig
from pipeline.engine.artifacts import SCRATCH, Store, lock_of, partial_of
from pipeline.engine.graph import Graph
from pipeline.engine.inventory.index import UNFINISHED
from pipeline.engine.inventory.layout import SHARD
from pipeline.engine.rebuild import NOTE
from pipeline.engine.schedule.slurm.records import LOCK, ended
from pipeline.machine.deletion import remove
from pipeline.machine.folders import user_path
from pipeline.machine.owner_lock import current_owner, folder_in_use, lock_if_free
from pipeline.machine.progress import read_progress, say
from pipeline.machine.scratch import belongs_to, drop_scratch
from pipeline.shown_text import visible
from pipeline.upkeep.unneeded import thinned, unneeded

_OLD = re.compile(r"(.+-[0-9a-f]{12})\.(replaced|deleted-\d+)")
_DAY = 24 * 3600.0
"""Age in seconds at which a temporary folder without a lock counts as left."""


@dataclass(frozen=True)
class Leftover:
    """One file or folder that no command needs.

    Attributes
    ----------
    path : Path
        What may go.
    reason : str
        Why, for people.
    lock : Path or None
        Lock under which it is deleted, if it has one.
    """

    path: Path
    reason: str
    lock: Path | None = None


def leftovers(store: Store, config: RunConfig) -> list[Leftover]:
    """List what may go, in the store first."""
    found = [*_in_store(store)]
    if config.paths.scratch is not None:
        found += _in_scratch(store, user_path(config.paths.scratch))
    return [*found, *_in_cache(user_path(config.paths.cache))]


def _entries(folder: Path) -> list[Path]:
    """Entries of a folder, sorted; none of a link, which leads out of the store, and of what cannot be listed."""
    if folder.is_symlink() or not folder.is_dir():
        return []
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _artifact_places(store: Store) -> Iterator[Path]:
    """Yield what lies beside artifacts and the artifacts, in the folders of stages and in those between."""
    for stage in _entries(store.root) if not store.root.is_symlink() else sorted(store.root.iterdir()):
        for path in _entries(stage):
            if SHARD.fullmatch(path.name):
                yield from _entries(path)
            else:
                yield path


def _in_store(store: Store) -> Iterator[Leftover]:
    places = list(_artifact_places(store))
    busy = any(path.suffix == ".lock" and current_owner(path) is not None for path in places)
    for note in sorted(store.root.glob(f"{NOTE}*.json")) if not busy else []:
        yield Leftover(note, "the note of an interrupted rebuild, which the same command would continue")
    for folder in ended(store.root):
        yield Leftover(folder, "record and logs of jobs of SLURM, all of which have ended", folder.with_name(LOCK))
    for path in sorted(store.root.glob(UNFINISHED)):
        if time.time() - path.lstat().st_mtime > _DAY:
            yield Leftover(path, "an index that was being written")
    for path in places:
        if path.suffix:
            folder = path.with_name(path.name.removesuffix(path.suffix))
            if path.suffix == ".partial" and current_owner(lock_of(folder)) is None and not folder_in_use(path):
                yield Leftover(path, _attempt(store, folder), lock_of(folder))
            elif path.suffix == ".lock" and path.is_file() and current_owner(path) is None:
                yield Leftover(path, "a lock that nobody holds", path)
            elif (old := _OLD.fullmatch(path.name)) and path.with_name(old[1]).is_dir():
                final = path.with_name(old[1])
                if current_owner(lock_of(final)) is None:
                    yield Leftover(path, "an old artifact whose deletion was interrupted", lock_of(final))


def _attempt(store: Store, folder: Path) -> str:
    """Say what is lost with a construction folder."""
    if store.failure(folder) is not None:
        return "a failed attempt (stage=status shows its error)"
    progress = read_progress(partial_of(folder) / SCRATCH)
    kept = f", which stopped in {progress['text']} and would continue there" if progress else ""
    return f"an interrupted attempt{kept}"


def _in_scratch(store: Store, scratch: Path) -> Iterator[Leftover]:
    """Yield scratch folders of this store whose construction folder is gone or uses another one."""
    root = Path(os.path.realpath(store.root))
    for stage in _entries(scratch):
        for path in _entries(stage):
            partial = belongs_to(path / SCRATCH)
            if partial is None or path.is_symlink() or not partial.is_relative_to(root):
                continue
            lock = lock_of(partial.with_name(partial.name.removesuffix(".partial")))
            used = os.path.realpath(partial / SCRATCH) == os.path.realpath(path / SCRATCH)
            if not used and current_owner(lock) is None:
                yield Leftover(path, f"scratch of {partial.name}, which does not use it", lock)


def _in_cache(cache: Path) -> Iterator[Leftover]:
    for path in [*_entries(cache), *_entries(cache / "models")]:
        if not path.name.startswith("."):
            continue
        lock = path if path.suffix == ".lock" else path.with_name(path.name + ".lock")
        fetching = path.name.startswith(".fetch-")
        if path.suffix == ".lock" and fetching and current_owner(path) is None:
            yield Leftover(path, "a lock that nobody holds", path)
        elif path.is_dir() and (fetching or path.parent.name == "models") and current_owner(lock) is None:
            if time.time() - path.lstat().st_mtime > _DAY:
                yield Leftover(path, "an interrupted download", lock)


def collect(graph: Graph, store: Store, config: RunConfig) -> None:
    """List leftovers, and delete them with ``gc_delete=true``.

    Parameters
    ----------
    graph : Graph
        Not needed: a store is looked at whole.
    store : Store
        The store.
    config : RunConfig
        ``paths.scratch``, ``paths.cache``, ``gc_delete``, ``gc_finished`` and ``gc_thin`` are read.
    """
    found = leftovers(store, config)
    old = [Leftover(one.folder, reason, lock_of(one.folder)) for one, reason in unneeded(store)]
    if not found:
        print(f"{store.root}: no command has left anything.")
    else:
        _show(found, "leftovers", "gc_delete=true", config.gc_delete)
    if old:
        print("finished, but no report here rests on it, and no command finds it any more:")
        _show(old, "not needed", "gc_delete=true gc_finished=true", config.gc_delete and config.gc_finished)
    if config.gc_thin:
        served = [Leftover(one.folder, reason, lock_of(one.folder)) for one, reason in thinned(store, config.gc_thin)]
        print(f"{' and '.join(config.gc_thin)}, of which what needs them is made, and made again where that changes:")
        _show(served, "have served", "gc_delete=true", config.gc_delete)


def _show(found: list[Leftover], what: str, switch: str, delete: bool) -> None:
    """List with sizes, and delete if told."""
    sizes = [_bytes(item.path) + _bytes_elsewhere(item.path) for item in found]
    for item, size in zip(found, sizes, strict=True):
        print(visible(f"{size / 1e6:10.1f} MB  {item.path}: {item.reason}"))
    total = f"{what}: {len(found)}, of {sum(sizes) / 1e6:.1f} MB together"
    if not delete:
        print(f"{total}. Nothing was deleted; {switch} deletes what is listed here.")
        return
    gone = sum(_delete(item) for item in found)
    print(f"{total}; {gone} deleted.")


def _bytes(path: Path) -> int:
    """Bytes on disk, without what links lead to."""
    try:
        if path.is_symlink() or not path.is_dir():
            return path.lstat().st_size
        return sum(_bytes(entry) for entry in path.iterdir())
    except OSError:
        return 0


def _bytes_elsewhere(partial: Path) -> int:
    """Bytes of a construction folder's scratch behind a link."""
    link = partial / SCRATCH
    if not link.is_symlink() or belongs_to(link.resolve()) != Path(os.path.realpath(partial)):
        return 0
    return _bytes(link.resolve())


def _delete(item: Leftover) -> bool:
    """Delete one thing unless a process has begun to use it; whether it is gone."""
    try:
        if item.lock is None:
            remove(item.path)
            return True
        with lock_if_free(item.lock) as free:
            free = free and not folder_in_use(item.path)
            if free and item.path != item.lock:
                _drop(item.path)
        return free
    except OSError as error:
        say(visible(f"cannot delete {item.path}: {error.strerror or error}"))
        return False


def _drop(path: Path) -> None:
    """Delete a path, and of a construction folder first its scratch elsewhere."""
    if path.suffix == ".partial" and not path.is_symlink():
        drop_scratch(path)
    remove(path)
