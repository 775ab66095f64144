"""``stage=status`` of a large study is a plain line for each artifact, with the words of the table of a small one."""

import pytest

from pipeline.engine import status
from pipeline.engine.artifacts import Store
from pipeline.engine.graph import Graph
from tests.pipeline.test_store import pull, run_config
from tests.pipeline.toy_stages import install


@pytest.mark.parametrize("boxed", [True, False])
def test_every_artifact_has_its_state_and_its_command(tmp_path, capsys, monkeypatch, boxed):
    install(monkeypatch)
    monkeypatch.setenv("COLUMNS", "240")
    monkeypatch.setattr(status, "_MOST_BOXED", 1000 if boxed else 2)
    made = pull(tmp_path, "square", run_config(1))
    study = run_config(cells={"seed": "0:3"}, wants=["square"])
    status.show_status(Graph(["experiment=toy"], lambda words: study), Store(tmp_path / "store"), study)
    lines = capsys.readouterr().out.splitlines()
    assert any("│" in line for line in lines) == boxed
    (done,) = (line for line in lines if made.folder.name in line)
    assert ["done", "seed 1"] == [word for word in ("done", "seed 1") if word in done]
    assert sum("missing" in line and "python run.py experiment=toy seed=" in line for line in lines) == 4
    assert any(line.startswith("2 done, 5 missing") for line in lines)
