"""The index of a store is never the truth: old, damaged, of another store, or gone, it changes no answer."""

import dataclasses
import multiprocessing
import os
import shutil
import sqlite3

import pytest

from pipeline.engine.artifacts import Store, open_partial, write_json
from pipeline.engine.inventory import index as module
from pipeline.engine.inventory.completion import complete
from pipeline.engine.inventory.index import INDEX, UNFINISHED, records_of
from pipeline.engine.inventory.listing import Listing

COUNT = 40
FILES = {"pipeline/engine/build.py": "0123456789"}


def keep(store: Store, number: int, accuracy: float = 0.5) -> None:
    """One finished artifact, made or rebuilt."""
    key = f"{number * 7919:012x}"[-12:]
    folder = store.folder("draw", f"toy-s{number}", key)
    partial = open_partial(folder)
    write_json(partial / "metrics.json", {"accuracy": accuracy, "seed": number})
    (partial / "config.yaml").write_text(f"stage: draw\nversion: 1\nseeds.init: {number}\n")
    record = {"command": f"python run.py seed={number}", "wall_seconds": 1.5, "code": {"digest": "d", "files": FILES}}
    complete(folder, {"stage": "draw", "key": key, "version": 1}, record)


@pytest.fixture
def store(tmp_path) -> Store:
    store = Store(tmp_path / "a store")
    for number in range(COUNT):
        keep(store, number)
    return store


@pytest.fixture(autouse=True)
def nothing_said_yet(monkeypatch):
    monkeypatch.setattr(module, "_said", set())


def found(store: Store) -> dict:
    listing = Listing(store.root)
    entries = [(stage, entry) for stage in listing.stages() for entry in listing.finished(stage)]
    records = records_of(store.root, entries, whole=True)
    return {address: dataclasses.asdict(record) for address, record in records.items()}


def read_counts(monkeypatch) -> list[str]:
    """Folders that are read from now on, and not taken from the index."""
    read: list[str] = []
    real = module.record_of
    monkeypatch.setattr(module, "record_of", lambda one, made: read.append(one.folder.name) or real(one, made))
    return read


def test_the_second_look_reads_no_folder_and_says_the_same(store, monkeypatch):
    first = found(store)
    assert len(first) == COUNT and (store.root / INDEX).is_file()
    read = read_counts(monkeypatch)
    assert found(store) == first and read == []
    one = first["draw", next(iter(first))[1]]
    assert one["provenance"]["code"]["files"] == FILES and one["metrics_text"].startswith("{")


def test_a_small_store_gets_no_index(tmp_path):
    store = Store(tmp_path)
    keep(store, 0)
    assert len(found(store)) == 1 and not (store.root / INDEX).exists()


def flip(path):
    content = bytearray(path.read_bytes())
    for place in range(4096, len(content), 97):
        content[place] ^= 4
    path.write_bytes(content)


def change_a_row(path):
    with sqlite3.connect(path) as index:
        index.execute("UPDATE artifact SET metrics = '{\"accuracy\": 1.0}'")
        index.execute("UPDATE code SET files = '{}'")


def older_layout(path):
    with sqlite3.connect(path) as index:
        index.execute("PRAGMA user_version = 0")


def other_table(path):
    path.unlink()
    with sqlite3.connect(path) as index:
        index.execute("CREATE TABLE artifact (stage)")
        index.execute(f"PRAGMA user_version = {module._LAYOUT}")


DAMAGES = {
    "deleted": lambda path: path.unlink(),
    "bits flipped": flip,
    "cut in half": lambda path: os.truncate(path, path.stat().st_size // 2),
    "empty": lambda path: path.write_bytes(b""),
    "no database": lambda path: path.write_bytes(b"notes" * 1000),
    "a changed row": change_a_row,
    "of an older layout": older_layout,
    "of another program": other_table,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_index_changes_no_answer_and_is_made_anew(store, damage, monkeypatch):
    before = found(store)
    DAMAGES[damage](store.root / INDEX)
    assert found(store) == before
    read = read_counts(monkeypatch)
    assert found(store) == before and read == []


def test_an_index_of_another_store_counts_for_nothing(store, tmp_path, monkeypatch):
    found(store)
    copy = Store(tmp_path / "copy")
    shutil.copytree(store.root, copy.root)  # as a colleague would, index included
    keep(copy, 3, accuracy=0.9)
    read = read_counts(monkeypatch)
    there = found(copy)
    assert len(read) == COUNT
    assert sorted({one["metrics_text"].split(",")[0] for one in there.values()})[-1].endswith("0.9")


def test_what_was_rebuilt_added_or_removed_is_seen(store):
    found(store)
    keep(store, 5, accuracy=0.75)
    keep(store, 5, accuracy=0.875)  # twice: the old folder's inode may be in use again
    keep(store, COUNT)
    gone = next(iter(store.finished("draw")))
    shutil.rmtree(gone)
    now = found(store)
    assert len(now) == COUNT and ("draw", gone.name) not in now
    texts = [one["metrics_text"] for one in now.values()]
    assert sum("0.875" in text for text in texts) == 1 and not any("0.75," in text for text in texts)


def test_a_damaged_artifact_is_never_kept_in_the_index(store):
    folder = next(iter(store.finished("draw")))
    (folder / "manifest.json").write_text("{")
    assert "cannot be read" in found(store)["draw", folder.name]["problem"]
    assert "cannot be read" in found(store)["draw", folder.name]["problem"]


@pytest.mark.parametrize("obstacle", ["a folder in its place", "a full disk"])
def test_an_index_that_cannot_be_written_is_said_once_and_costs_no_answer(store, capsys, monkeypatch, obstacle):
    if obstacle == "a full disk":
        monkeypatch.setattr(module, "_write", lambda *given: (_ for _ in ()).throw(OSError(28, "No space left")))
    else:
        (store.root / INDEX).mkdir()
    assert len(found(store)) == len(found(store)) == COUNT
    said = capsys.readouterr().err
    assert said.count("every look reads the folders themselves") == 1 and "Traceback" not in said
    assert not list(store.root.glob(UNFINISHED))


def _look_often(store: Store, results) -> None:
    try:
        for _ in range(8):
            (store.root / INDEX).unlink(missing_ok=True)
            results.put(sum("accuracy" in one["metrics_text"] for one in found(store).values()))
    except BaseException as error:
        results.put(repr(error))


def test_processes_that_write_it_at_the_same_time_neither_wait_nor_break_it(store):
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    processes = [context.Process(target=_look_often, args=(store, results)) for _ in range(3)]
    for process in processes:
        process.start()
    counts = [results.get(timeout=60) for _ in range(3 * 8)]
    for process in processes:
        process.join()
    assert counts == [COUNT] * len(counts)
    assert not list(store.root.glob(UNFINISHED)) and len(found(store)) == COUNT
