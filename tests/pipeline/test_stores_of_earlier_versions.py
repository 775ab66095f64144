"""What an earlier version made is used where it lies: in flat folders, under other names, with files of their own."""

import json

import pytest

from pipeline.engine.artifacts import Artifact, Store, lock_of, partial_of
from pipeline.engine.graph import Graph
from pipeline.engine.status import rows_of
from pipeline.errors import CorruptArtifact
from pipeline.upkeep.leftovers import leftovers
from pipeline.upkeep.verify import finished_artifacts
from tests.pipeline.test_store import child, payload, pull, run_config, runs
from tests.pipeline.toy_stages import install


@pytest.fixture(autouse=True)
def toy(monkeypatch, tmp_path):
    install(monkeypatch)
    counts = tmp_path / "counts"
    counts.mkdir()
    monkeypatch.setenv("TOY_COUNTS", str(counts))
    return counts


def make_former(artifact, name: str | None = None):
    """Give an artifact the form of store format 1: flat, and every payload file a file."""
    manifest = json.loads((artifact.folder / "manifest.json").read_text())
    for file, lines in manifest.pop("inline").items():
        (artifact.folder / file).write_text("".join(f"{line}\n" for line in lines))
    (artifact.folder / "manifest.json").write_text(json.dumps({**manifest, "format": 1}))
    flat = artifact.folder.parent.parent / (name or artifact.folder.name)
    artifact.folder.rename(flat)
    return flat


@pytest.mark.parametrize("name", [None, "former_slug"])
def test_a_flat_artifact_is_reused_in_place_and_read_as_before(tmp_path, toy, name):
    draw = pull(tmp_path, "draw", run_config())
    before, metrics, settings = payload(draw), draw.metrics, draw.settings
    flat = make_former(draw, name and f"{name}-{draw.key}")
    square = pull(tmp_path, "square", run_config())
    assert runs(toy, "draw") == 1 and square.metrics["sum"] > 0
    again = pull(tmp_path, "draw", run_config())
    assert (again.folder, again.metrics, again.settings) == (flat, metrics, settings)
    assert payload(again) == before and runs(toy, "draw") == 1
    store = Store(tmp_path / "store")
    assert {one.folder for one in finished_artifacts(store)} == {flat, square.folder}
    (row,) = rows_of([Graph().resolve("draw", run_config())], store)
    assert (row.state, row.note) == ("done", "")
    assert not leftovers(store, run_config())


def test_a_flat_artifact_is_rebuilt_in_its_place(tmp_path, toy):
    draw = pull(tmp_path, "draw", run_config())
    before = payload(draw)
    flat = make_former(draw)
    again = pull(tmp_path, "draw", run_config(), rebuild={"draw"})
    assert again.folder == flat and payload(again) == before and runs(toy, "draw") == 2


def test_a_killed_attempt_of_an_earlier_version_continues(tmp_path, toy):
    child(tmp_path, TOY_KILL="draw5").communicate()
    (partial,) = (tmp_path / "store" / "draw").glob("*/*.partial")
    flat = partial.parent.parent / partial.name.removesuffix(".partial")
    partial.rename(partial_of(flat))
    begun = [path.stat().st_mtime_ns for path in sorted((partial_of(flat) / "scratch").glob("*.npy"))]
    assert len(begun) == 5
    made = pull(tmp_path, "draw", run_config())
    assert made.folder == flat and not lock_of(flat).exists()
    assert payload(made) == payload(pull(tmp_path / "undisturbed", "draw", run_config()))


def test_settings_and_metrics_are_files_for_people_and_read_from_the_manifest(tmp_path):
    draw = pull(tmp_path, "draw", run_config())
    names = sorted(path.name for path in draw.folder.iterdir())
    assert names == ["config.yaml", "draws.safetensors", "manifest.json", "metrics.json", "provenance.json"]
    copy = draw.path("metrics.json")
    assert copy.read_text() == draw.text("metrics.json")
    copy.write_text('{\n "seed": 7\n}\n')
    edited = Artifact(draw.folder)
    assert edited.metrics == {"seed": 0} and [name for name, _ in edited.damages()] == ["metrics.json"]
    with pytest.raises(CorruptArtifact, match=r"metrics\.json has sha256 .* rebuild="):
        edited.verify()


def test_an_artifact_whose_settings_and_metrics_are_in_its_manifest_alone_is_whole(tmp_path, toy):
    draw = pull(tmp_path, "draw", run_config())
    for name in ("config.yaml", "metrics.json"):
        (draw.folder / name).unlink()
    assert len(list(Artifact(draw.folder).damages())) == 2
    manifest = json.loads((draw.folder / "manifest.json").read_text())
    (draw.folder / "manifest.json").write_text(json.dumps({**manifest, "format": 2}))
    again = pull(tmp_path, "draw", run_config())
    assert not list(again.damages()) and again.metrics == draw.metrics and runs(toy, "draw") == 1
    assert set(payload(draw)) == {"config.yaml", "draws.safetensors", "metrics.json"}
    assert draw.text("metrics.json") == '{\n "seed": 0\n}\n' and draw.settings["seeds.init"] == 0
