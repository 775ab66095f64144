"""Records outside the byte promises may be empty, cut or of another type: they count as absent and stop nothing."""

import os

import pytest

from pipeline.engine.artifacts import SCRATCH, Artifact, Store, partial_of
from pipeline.engine.graph import Graph
from pipeline.engine.status import rows_of
from pipeline.errors import CorruptArtifact
from pipeline.machine.progress import read_progress
from pipeline.machine.side_files import read_record
from tests.pipeline.test_store import pull, run_config
from tests.pipeline.toy_stages import install

DAMAGES = {
    "empty": b"",
    "cut": b'{"error": "bo',
    "zeros": bytes(300),
    "not UTF-8": b'{"error": "\xff"}',
    "a list": b"[1, 2]",
    "a number": b"7",
    "too deep": b"[" * 100_000,
    "other types": b"""{"error": 7, "traceback": null, "text": 3, "command": [], "commit": 4, "wall_seconds": "long",
        "code": 3, "inputs": [1], "rebuild": 1, "versions": 2}""",
    "other numbers": b"""{"text": "epoch 1/3", "seconds_left": "soon", "written": null, "host": 3, "error": "",
        "code": {"files": {"run.py": 3}, "digest": [], "changed_meanwhile": 7}, "inputs": {"a": []}}""",
}


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    install(monkeypatch)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_record_is_absent(tmp_path, damage):
    path = tmp_path / "record.json"
    assert read_record(path) is None
    path.write_bytes(DAMAGES[damage])
    found = read_record(path)
    assert found is None if not damage.startswith("other") else isinstance(found, dict)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["a pipe", "a folder"])
def test_what_is_no_file_is_absent_and_never_waited_for(tmp_path, make):
    make(tmp_path / "record.json")
    assert read_record(tmp_path / "record.json") is None
    draw = pull(tmp_path, "draw", run_config())
    (draw.folder / "manifest.json").unlink()
    make(draw.folder / "manifest.json")
    with pytest.raises(CorruptArtifact, match=r"manifest.json is no file. Nothing was changed"):
        _ = Artifact(draw.folder).manifest
    rows_of([Graph().resolve("square", run_config())], Store(tmp_path / "store"))


@pytest.mark.parametrize("damage", DAMAGES)
def test_no_damaged_side_file_stops_status_or_the_same_command(tmp_path, damage):
    content = DAMAGES[damage]
    draw = pull(tmp_path, "draw", run_config())
    (draw.folder / "provenance.json").write_bytes(content)
    store, node = Store(tmp_path / "store"), Graph().resolve("draw", run_config(1))
    folder = store.folder("draw", node.slug, node.key)
    partial = partial_of(folder)
    for name in ("logs/failed.json", f"{SCRATCH}/progress.json"):
        path = partial / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    folder.with_name(folder.name + ".lock").write_bytes(content)
    (row,) = rows_of([node], store)
    assert row.state == "partial" and store.failure(folder) is None
    assert isinstance(read_progress(partial / SCRATCH), dict if damage == "other numbers" else type(None))
    rows_of([Graph().resolve("draw", run_config())], store)
    pull(tmp_path, "square", run_config())  # estimates its time from the damaged record
    assert pull(tmp_path, "draw", run_config(1)).folder == folder
