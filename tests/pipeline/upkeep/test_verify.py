"""``stage=verify`` names every file that is damaged, missing or extra, and the command that makes it again."""

import json
import os
import shlex

import pytest

from pipeline.engine.artifacts import Store
from pipeline.engine.graph import Graph
from pipeline.engine.status import rows_of
from pipeline.errors import CorruptArtifact
from pipeline.upkeep.verify import damages_of, finished_artifacts, verify_store
from tests.pipeline.test_store import pull, run_config
from tests.pipeline.toy_stages import install


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    install(monkeypatch)
    monkeypatch.setenv("COLUMNS", "300")


def verified(tmp_path) -> int:
    """Exit code of ``stage=verify`` on the test's store."""
    try:
        verify_store(Graph(), Store(tmp_path / "store"), run_config())
    except SystemExit as end:
        return int(end.code)
    return 0


def test_a_whole_store_is_said_to_be_whole(tmp_path, capsys):
    assert verified(tmp_path) == 0 and "holds no finished artifact" in capsys.readouterr().out
    square = pull(tmp_path, "square", run_config())
    (square.folder / "provenance.json").write_bytes(b"")  # no promise covers it
    square.folder.with_name(square.folder.name + ".partial").mkdir()
    assert verified(tmp_path) == 0
    assert "2 artifacts in" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("flip", "square.safetensors has sha256"),
        ("cut", "square.safetensors has"),
        ("remove", "square.safetensors is missing"),
        ("extra", "notes.txt is extra"),
        ("no manifest", "manifest.json cannot be read"),
        ("other manifest", "it lists no files"),
        ("deep manifest", "manifest.json cannot be read"),
    ],
)
def test_damage_is_named_with_the_command_that_makes_it_again(tmp_path, capsys, damage, words):
    pull(tmp_path, "draw", run_config())
    square = pull(tmp_path, "square", run_config())
    path, manifest = square.folder / "square.safetensors", square.folder / "manifest.json"
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[-1] ^= 1
        path.write_bytes(content)
    elif damage == "cut":
        path.write_bytes(content[:-1])
    elif damage == "remove":
        path.unlink()
    elif damage == "extra":
        (square.folder / "notes.txt").write_text("mine")
    else:
        text = {"no manifest": "", "other manifest": '{"format": 1, "files": ["a"]}', "deep manifest": "[" * 100_000}
        manifest.write_text(text[damage])
    assert verified(tmp_path) == 1
    shown = capsys.readouterr()
    assert words in " ".join(shown.out.split())
    assert "not what their manifests say: 1 file, in 1 of 2 artifacts" in shown.err
    command = next(line for line in shown.out.splitlines() if "rebuild=" in line)
    assert shlex.split(command)[:3] == ["python", "run.py", "experiment=toy"]
    assert shlex.split(command)[-2:] == ["stage=square", f"rebuild=[{square.key}]"]


def test_a_file_of_somebody_else_is_no_damage_to_rebuild(tmp_path, capsys, monkeypatch):
    draw = pull(tmp_path, "draw", run_config())

    def refused(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("pipeline.machine.payload_files.file_sha256", refused)
    assert verified(tmp_path) == 1
    shown = capsys.readouterr().out
    assert "chmod -R g+rX" in " ".join(shown.split()) and "rebuild=" not in shown
    assert {damage.unreadable for damage in damages_of(draw)} == {True}


def test_only_complete_names_are_checked_and_former_stages_too(tmp_path):
    draw = pull(tmp_path, "draw", run_config())
    for name in ("draw.partial", "x-0123456789ab.deleted-7", "x-0123456789ab.partial", "notes"):
        (draw.folder.parent / name).mkdir()
    former = tmp_path / "store" / "forgotten" / "toy-0123456789ab"
    former.mkdir(parents=True)
    found = [artifact.folder for artifact in finished_artifacts(Store(tmp_path / "store"))]
    assert found == [draw.folder, former]


def test_a_damaged_target_is_noticed_before_it_is_said_to_exist(tmp_path):
    square = pull(tmp_path, "square", run_config())
    path = square.folder / "square.safetensors"
    os.truncate(path, path.stat().st_size - 1)
    with pytest.raises(CorruptArtifact, match=rf"square.safetensors has .*rebuild=\[{square.key}\]"):
        pull(tmp_path, "square", run_config())
    manifest = square.folder / "manifest.json"
    manifest.write_text(json.dumps({"format": 1}))
    with pytest.raises(CorruptArtifact, match="it lists no files"):
        pull(tmp_path, "square", run_config())


def test_status_points_at_a_complete_name_without_a_manifest(tmp_path):
    square = pull(tmp_path, "square", run_config())
    (square.folder / "manifest.json").unlink()
    (row,) = rows_of([Graph().resolve("square", run_config())], Store(tmp_path / "store"))
    assert row.note == "its manifest is missing; stage=verify says how to make it again"
