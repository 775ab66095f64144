"""An artifact of other code, or of inputs that have other bytes now, is never used without saying so."""

import numpy as np
import pytest

from pipeline.engine.artifacts import Artifact, Store
from pipeline.engine.build import construction
from pipeline.engine.graph import Graph
from pipeline.engine.rebuild import Rebuild
from pipeline.engine.staleness import staleness
from pipeline.engine.status import rows_of, show_status
from pipeline.machine import code_digest
from pipeline.machine.deciding_files import decides
from tests.pipeline.test_store import pull, puller, run_config
from tests.pipeline.toy_stages import install

FILES = code_digest.own_files()


@pytest.fixture
def edit(monkeypatch):
    """Change a file of ours, as far as digests can tell."""

    def changed(name: str) -> None:
        assert name in FILES
        monkeypatch.setattr(code_digest, "own_files", lambda: {**FILES, name: "edited"})
        code_digest.own_digest.cache_clear()

    install(monkeypatch)
    yield changed
    monkeypatch.undo()
    code_digest.own_digest.cache_clear()


def test_plan_and_status_name_the_changed_file_and_the_command_that_rebuilds(tmp_path, edit, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")  # a narrower table folds its notes
    draw = pull(tmp_path, "draw", run_config())
    assert staleness(Artifact(draw.folder)) == ""
    edit("pipeline/engine/build.py")
    capsys.readouterr()
    pull(tmp_path, "square", run_config())
    said = capsys.readouterr().err
    assert f"made by other code: pipeline/engine/build.py changed (draw {draw.folder.name})" in said
    assert "To rebuild them: python run.py experiment=toy stage=square 'rebuild=[draw]'" in said
    config = run_config(wants=["draw"])
    show_status(Graph(["experiment=toy"]), Store(tmp_path / "store"), config)
    shown = " ".join(capsys.readouterr().out.split())
    assert "made by other code: pipeline/engine/build.py changed" in shown
    assert "python run.py experiment=toy stage=report 'rebuild=[draw]'" in shown
    pull(tmp_path, "square", run_config(), rebuild={"draw"})
    assert staleness(Artifact(draw.folder)) == ""


def test_a_file_that_was_not_used_changes_nothing(tmp_path, edit):
    draw = pull(tmp_path, "draw", run_config())
    record = draw.provenance
    record["code"]["files"].pop("pipeline/engine/build.py")
    edit("pipeline/engine/build.py")
    assert staleness(draw) == ""


def test_an_interrupted_attempt_continues_under_other_code_only_aloud(tmp_path, edit, capsys):
    maker = puller(tmp_path)
    node = maker.graph.resolve("draw", run_config())
    with pytest.raises(KeyboardInterrupt), construction(node, maker.graph, maker.store, inputs={}) as build:
        (build.scratch / "half").write_text("done")
        raise KeyboardInterrupt
    edit("pipeline/engine/build.py")
    assert rows_of([node], maker.store)[0].note.startswith(
        "begun by other code: pipeline/engine/build.py changed; continue: "
    )
    made = pull(tmp_path, "draw", run_config())
    said = capsys.readouterr().err
    assert f"made by other code: pipeline/engine/build.py changed since {made.folder.name} was interrupted" in said
    assert f"To start it over: python run.py experiment=toy stage=draw 'rebuild=[{made.key}]'" in said
    assert "two states of the code: pipeline/engine/build.py changed while it was made" in staleness(
        Artifact(made.folder)
    )


def test_an_input_that_was_rebuilt_with_other_bytes_is_named(tmp_path, edit):
    square = pull(tmp_path, "square", run_config())
    assert staleness(Artifact(square.folder)) == ""
    maker = puller(tmp_path)
    node = maker.graph.resolve("draw", run_config())
    again = Rebuild(frozenset(["draw"]), "again")
    with construction(node, maker.graph, maker.store, rebuild=again, inputs={}) as build:
        (build.folder / "draws.safetensors").write_bytes(b"other bytes")
    assert f"rests on other bytes than draw/{node.slug}-{node.key} has now" in staleness(Artifact(square.folder))


def test_another_version_of_a_library_is_named(tmp_path, edit):
    draw = pull(tmp_path, "draw", run_config())
    assert "numpy" in draw.provenance["code"]["libraries"]
    draw.provenance["code"]["libraries"]["numpy"] = "1.0.0"
    assert staleness(draw) == f"made with other libraries: numpy 1.0.0, now {np.__version__}"


@pytest.mark.parametrize("name", ["models/fields.py", "pipeline/engine/status.py", "pipeline/errors.py"])
def test_a_reworded_message_makes_nothing_old(tmp_path, edit, name):
    draw = pull(tmp_path, "draw", run_config())
    assert name in draw.provenance["code"]["files"], "it was used, and is recorded"
    edit(name)
    assert staleness(Artifact(draw.folder)) == ""


def test_every_file_counts_but_those_that_are_named_as_words():
    words = {name for name in FILES if not decides(name, "report")}
    assert {name for name in words if name.startswith(("kernels/", "analysis/"))} <= {"analysis/plain_text.py"}
    numbers = {name for name in FILES if decides(name, "train")}
    assert {
        "models/mlp.py",
        "pipeline/training/fit.py",
        "pipeline/data/batches.py",
        "pipeline/stages/train/run.py",
    } <= numbers
    pages = {name for name in FILES if decides(name, "report")} - numbers
    pages -= {name for name in pages if name.startswith(("analysis/pages/", "pipeline/results/"))}
    assert pages and all("report" in name or name.endswith("claims.py") for name in pages)
    assert decides("pipeline/stages/statistics/claims.py", "statistics")
