"""What stops many cells is said once, with their number; what a person watches says what the command does itself."""

import pytest

from pipeline.engine.artifacts import Store
from pipeline.engine.executor import Puller
from pipeline.engine.graph import Graph
from pipeline.engine.plan import every_node
from pipeline.engine.schedule.events import Events, failure_table
from pipeline.engine.schedule.labels import labels_of
from pipeline.engine.schedule.scheduler import Outcome
from pipeline.errors import FailedCells, UserError
from tests.pipeline.toy_cells import run_config
from tests.pipeline.toy_stages import install


@pytest.fixture
def target(monkeypatch):
    install(monkeypatch)
    return lambda seeds: Graph(["experiment=toy"]).resolve("total", run_config(cells={"seed": seeds}))


@pytest.fixture
def events(tmp_path, target):
    study = target("0:20")
    return Events(list(every_node(study)), labels_of(study), Store(tmp_path), workers=2)


def test_a_study_on_one_worker_ends_with_the_table_too(tmp_path, target, monkeypatch, capsys):
    (tmp_path / "counts").mkdir()
    monkeypatch.setenv("TOY_COUNTS", str(tmp_path / "counts"))
    with pytest.raises(FailedCells, match="unlucky seed"):
        Puller(Store(tmp_path / "store"), Graph(["experiment=toy"])).pull(target("12:15"))  # seed 13 raises
    table = capsys.readouterr().err.partition("failed:\n")[2].splitlines()
    assert table[0].startswith("  draw toy-none-sgd-lr0.1-s13-") and table[0].endswith(
        "(seed 13): ValueError: unlucky seed"
    )
    assert (
        table[1].endswith(".partial/logs") and "seed=13" in table[2] and table[2].startswith("    again: python run.py")
    )
    assert table[3:] == ["  not made, since an input failed: 1 artifact"]


def test_a_refusal_that_all_seeds_share_is_one_row_with_their_number(events, capsys):
    for node in events.nodes:
        if node.stage.name == "draw":
            events.ended(Outcome(node.key, UserError("The file rows.csv is not there.")))
        elif node.stage.name == "square":
            events.ended(Outcome(node.key, UserError("The file rows.csv is not there."), tried=False))
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2 and "failed: The file rows.csv" in said[0] and "not made, since an input failed" in said[1]
    table = failure_table(events.nodes, list(events._ended.values()), events.labels, events.store)
    assert table[0] == "  20 of draw (seed 0; seed 1; seed 2; and 17 more): The file rows.csv is not there."
    assert table[1].startswith("    log of the first: ") and table[2].startswith(
        "    again: python run.py experiment=toy"
    )
    assert table[3:] == ["  not made, since an input failed: 20 artifacts"]


def test_different_refusals_have_rows_of_their_own(events, capsys):
    draws = [node for node in events.nodes if node.stage.name == "draw"][:2]
    for node, words in zip(draws, ("one", "two"), strict=True):
        events.ended(Outcome(node.key, UserError(words)))
    table = failure_table(events.nodes, list(events._ended.values()), events.labels, events.store)
    assert [line for line in table if not line.startswith("    ")] == [
        f"  {events.name(node)}: {words}" for node, words in zip(draws, ("one", "two"), strict=True)
    ]
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_the_live_table_says_what_the_command_does_while_nothing_else_moves(events, monkeypatch, capsys):
    drawn = []

    class Terminal:
        def update(self, table, refresh):
            drawn.append([str(part) for part in table.renderables[1:]])

    events._live = Terminal()
    events.draw()
    events.prepares("importing libraries, once for all workers")
    events.prepares("")
    assert "importing libraries" not in str(drawn[0]) + str(drawn[-1]) and "importing libraries" in str(drawn[1:-1])
    events._live = None
    events.prepares("importing libraries, once for all workers")
    assert "importing libraries" in capsys.readouterr().err
