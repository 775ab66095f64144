"""``stage=gc`` lists what interrupted commands left; told to, it deletes that, and never what is finished or in use."""

import dataclasses
import json
import os
import time
from pathlib import Path

import pytest

from pipeline.engine.artifacts import SCRATCH, Artifact, Store, lock_of, open_partial, partial_of
from pipeline.engine.executor import Puller
from pipeline.engine.graph import Graph
from pipeline.errors import UserError
from pipeline.machine.owner_lock import folder_lock, owner_lock
from pipeline.upkeep.leftovers import collect, leftovers
from tests.pipeline.test_store import payload, pull, run_config
from tests.pipeline.toy_stages import install

KEY = "0123456789ab"


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    install(monkeypatch)


@pytest.fixture
def config(tmp_path):
    config = run_config()
    (tmp_path / "elsewhere").mkdir()
    paths = dataclasses.replace(config.paths, cache=str(tmp_path / "cache"), scratch=str(tmp_path / "elsewhere"))
    return dataclasses.replace(config, paths=paths)


def everything(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_leftovers_are_listed_and_deleted_only_when_told(tmp_path, config, capsys):
    draw = pull(tmp_path, "draw", config)
    with pytest.raises(ValueError, match="unlucky"):
        pull(tmp_path, "draw", run_config(seed=13))
    stage = draw.folder.parent
    open_partial(stage / f"toy-{KEY}", tmp_path / "elsewhere")
    (stage / f"toy-{KEY}.partial" / SCRATCH / "tile").write_bytes(bytes(1_000_000))
    (stage / f"other-{KEY}.lock").write_text("{}")
    (draw.folder.with_name(draw.folder.name + ".deleted-77")).mkdir()
    (draw.folder.with_name(draw.folder.name + ".replaced")).mkdir()
    (stage / f"lost-{KEY}.replaced").mkdir()  # all that is left of that artifact: the next command restores it
    (tmp_path / "store" / "notes.txt").write_text("mine")
    (stage / "notes").mkdir()
    fetching = tmp_path / "cache" / ".fetch-a.deb"
    fetching.mkdir(parents=True)
    os.utime(fetching, (time.time() - 1e6,) * 2)
    unfinished = tmp_path / "store" / ".index-host-7.new"
    unfinished.write_bytes(b"")
    os.utime(unfinished, (time.time() - 1e6,) * 2)
    (tmp_path / "cache" / ".fetch-b.deb").mkdir()  # perhaps of a process on another machine
    before = everything(tmp_path)
    collect(Graph(), Store(tmp_path / "store"), config)
    listed = capsys.readouterr().out
    assert everything(tmp_path) == before
    for words in (
        "a failed attempt (stage=status shows its error)",
        f"toy-{KEY}.partial: an interrupted attempt",
        "a lock that nobody holds",
        ".deleted-77: an old artifact",
        ".replaced: an old artifact",
        ".fetch-a.deb: an interrupted download",
        "an index that was being written",
        "leftovers: 7, of 1.",
        "gc_delete=true deletes what is listed here",
    ):
        assert words in listed
    assert ".fetch-b.deb" not in listed and "lost" not in listed and "notes" not in listed
    collect(Graph(), Store(tmp_path / "store"), dataclasses.replace(config, gc_delete=True))
    assert "7 deleted" in capsys.readouterr().out
    left = {name for name in everything(tmp_path) if Path(name).suffix in (".partial", ".lock", ".deleted-77")}
    assert not left and not [path for path in (tmp_path / "elsewhere").rglob("*") if path.is_file()]
    draw.verify()
    assert (stage / f"lost-{KEY}.replaced").is_dir() and (tmp_path / "store" / "notes.txt").exists()
    collect(Graph(), Store(tmp_path / "store"), config)
    assert "no command has left anything" in capsys.readouterr().out


def test_what_a_process_works_in_is_no_leftover(tmp_path, config):
    folder = tmp_path / "store" / "draw" / f"toy-{KEY}"
    store = Store(tmp_path / "store")
    with owner_lock(lock_of(folder), print):
        partial = open_partial(folder, tmp_path / "elsewhere")
        assert leftovers(store, config) == []
        lock_of(folder).unlink()  # a cleaner of lock files
        with folder_lock(partial, print):
            assert leftovers(store, config) == []
    (only,) = leftovers(store, config)
    with owner_lock(lock_of(folder), print):  # begun after the list was made
        collect(Graph(), store, dataclasses.replace(config, gc_delete=True))
    assert only.path == partial and partial.is_dir()


def test_scratch_of_a_vanished_attempt_is_found_and_that_of_other_stores_left(tmp_path, config):
    for name in ("store", "other"):
        folder = tmp_path / name / "draw" / f"toy-{KEY}"
        open_partial(folder, tmp_path / "elsewhere")
        (partial_of(folder) / SCRATCH).unlink()
    (tmp_path / "elsewhere" / "draw" / "mine").mkdir()
    places = [item.path for item in leftovers(Store(tmp_path / "store"), config) if "scratch of" in item.reason]
    assert len(places) == 1 and places[0].parent == tmp_path / "elsewhere" / "draw"


def test_nothing_outside_the_store_is_deleted(tmp_path, config):
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / f"thesis-{KEY}.partial").mkdir()
    stage = tmp_path / "store" / "draw"
    stage.mkdir(parents=True)
    (stage / f"toy-{KEY}.partial").symlink_to(victim)
    (tmp_path / "store" / "train").symlink_to(victim)
    inner = stage / f"two-{KEY}.partial"
    inner.mkdir()
    (inner / SCRATCH).symlink_to(victim)
    collect(Graph(), Store(tmp_path / "store"), dataclasses.replace(config, gc_delete=True))
    assert (victim / f"thesis-{KEY}.partial").is_dir()
    assert list(stage.iterdir()) == []


def test_the_note_of_an_interrupted_rebuild_is_listed_while_nobody_is_at_work(tmp_path, config, monkeypatch):
    pull(tmp_path, "draw", config)
    monkeypatch.setattr("tests.pipeline.toy_stages.draw", lambda build: (_ for _ in ()).throw(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        pull(tmp_path, "draw", config, rebuild={"draw"})
    store = Store(tmp_path / "store")
    assert any("the note of an interrupted rebuild" in item.reason for item in leftovers(store, config))
    with owner_lock(store.root / "draw" / f"toy-{KEY}.lock", print):
        assert not any("the note of an interrupted rebuild" in item.reason for item in leftovers(store, config))


def test_finished_artifacts_that_nothing_needs_are_listed_and_deleted_only_when_told_twice(
    tmp_path, config, capsys, monkeypatch
):
    from pipeline.upkeep import unneeded

    monkeypatch.setattr(unneeded, "ROOT", "total")
    study = dataclasses.replace(config, cells={"seed": [0, 1]}, wants=["square"], experiment_name="study")
    now = run_config()
    now.training.epochs = 99  # what the other study's file says today
    here = {("experiment=toy",): run_config(), ("experiment=other",): now}
    composed = []
    monkeypatch.setattr(unneeded, "compose_run", lambda words: composed.append(words) or here[words])

    def made(stage, seed, study="toy"):
        graph, store = Graph([f"experiment={study}", f"seed={seed}"]), Store(tmp_path / "store")
        return Puller(store, graph).pull(graph.resolve(stage, run_config(seed)))

    total = pull(tmp_path, "total", study)
    used, found, former = made("square", 0), made("square", 2), made("square", 3)
    assert len(total.provenance["inputs"]) == 2
    record = json.loads((former.folder / "manifest.json").read_text())
    (former.folder / "manifest.json").write_text(json.dumps({**record, "version": 0}))
    moved = made("draw", 4, "other")
    store = Store(tmp_path / "store")
    listed = {artifact.folder: reason for artifact, reason in unneeded.unneeded(store)}
    assert set(listed) == {former.folder, moved.folder} and used.folder.is_dir()
    assert sorted(composed) == sorted(here)  # once for all seeds
    assert listed[former.folder] == "of VERSION 0 of its stage, now 1"
    assert listed[moved.folder].startswith("its command makes ")
    collect(Graph(), store, dataclasses.replace(config, gc_delete=True))
    shown = capsys.readouterr().out
    assert "not needed: 2, of " in shown and "gc_delete=true gc_finished=true deletes what is listed here" in shown
    assert former.folder.is_dir() and moved.folder.is_dir()
    collect(Graph(), store, dataclasses.replace(config, gc_delete=True, gc_finished=True))
    assert "2 deleted." in capsys.readouterr().out
    assert not former.folder.exists() and not moved.folder.exists()
    assert total.folder.is_dir() and used.folder.is_dir() and found.folder.is_dir()
    (total.folder / "provenance.json").write_text("{}")  # a report that does not say what it rests on
    assert not list(unneeded.unneeded(store))


def test_what_has_served_is_thinned_and_made_again_only_where_it_is_needed(tmp_path, config, capsys):
    square = pull(tmp_path, "square", run_config())
    loose = pull(tmp_path, "draw", run_config(seed=7))
    store, thin = Store(tmp_path / "store"), dataclasses.replace(config, gc_thin=["draw"])
    collect(Graph(), store, thin)
    shown = capsys.readouterr().out
    assert "1 finished artifact rests on it and stays" in shown and "have served: 1" in shown
    (drawn,) = (one.folder for one in map(Artifact, store.finished("draw")) if one.folder != loose.folder)
    assert drawn.is_dir()
    with owner_lock(lock_of(loose.folder), print), pytest.raises(UserError, match="A process is at work in"):
        collect(Graph(), store, dataclasses.replace(thin, gc_delete=True))
    before = payload(Artifact(drawn))
    collect(Graph(), store, dataclasses.replace(thin, gc_delete=True))
    assert not drawn.exists() and loose.folder.is_dir() and square.folder.is_dir()
    capsys.readouterr()
    assert pull(tmp_path, "square", run_config()).folder == square.folder and not drawn.exists()
    assert "on which existing artifacts rest is gone" in capsys.readouterr().err
    assert payload(pull(tmp_path, "draw", run_config())) == before
