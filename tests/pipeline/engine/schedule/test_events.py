"""What stops many cells is said once, with their number; what a person watches says what the command does itself."""

import pytest

from pipeline.engine.artifacts import Store
from pipeline.engine.graph import Graph
from pipeline.engine.plan import every_node
from pipeline.engine.schedule.events import Events
from pipeline.engine.schedule.labels import labels_of
from pipeline.engine.schedule.scheduler import Outcome
from pipeline.engine.stages import STAGES
from pipeline.errors import UserError
from tests.pipeline.toy_cells import run_config
from tests.pipeline.toy_stages import TOY, toy_defaults


@pytest.fixture
def events(tmp_path, monkeypatch):
    from pipeline.engine import keys

    toys = toy_defaults()
    monkeypatch.setattr(keys, "defaults_table", lambda: toys)
    for name, stage in TOY.items():
        monkeypatch.setitem(STAGES, name, stage)
    target = Graph(["experiment=toy"]).resolve("total", run_config(cells={"seed": "0:20"}))
    return Events(list(every_node(target)), labels_of(target), Store(tmp_path), workers=2)


def test_a_refusal_that_all_seeds_share_is_one_row_with_their_number(events, capsys):
    for node in events.nodes:
        if node.stage.name == "draw":
            events.ended(Outcome(node.key, UserError("The file rows.csv is not there.")))
        elif node.stage.name == "square":
            events.ended(Outcome(node.key, UserError("The file rows.csv is not there."), tried=False))
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2 and "failed: The file rows.csv" in said[0] and "not made, since an input failed" in said[1]
    table = events.failures()
    assert table[0] == "  20 of draw (seed 0; seed 1; seed 2; and 17 more): The file rows.csv is not there."
    assert table[1].startswith("    log of the first: ") and table[2].startswith(
        "    again: python run.py experiment=toy"
    )
    assert table[3:] == ["  not made, since an input failed: 20 artifacts"]


def test_different_refusals_have_rows_of_their_own(events, capsys):
    draws = [node for node in events.nodes if node.stage.name == "draw"][:2]
    for node, words in zip(draws, ("one", "two"), strict=True):
        events.ended(Outcome(node.key, UserError(words)))
    assert [line for line in events.failures() if not line.startswith("    ")] == [
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
