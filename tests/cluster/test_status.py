"""``stage=status`` says what runs where and for how long, what stopped and how to go on, and can watch."""

import dataclasses
import json
import time

import pytest

from pipeline.data.batch_order import BatchOrder
from pipeline.engine.artifacts import Store, lock_of, open_partial, partial_of
from pipeline.engine.graph import Graph
from pipeline.engine.status import nodes_of, rows_of, show_status
from pipeline.machine.owner_lock import owner_lock
from pipeline.machine.progress import note_progress
from tests.pipeline.test_store import pull, run_config
from tests.pipeline.toy_stages import install


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    install(monkeypatch)


def state(tmp_path, seed=0):
    graph, store = Graph(["experiment=toy"]), Store(tmp_path / "store")
    node = graph.resolve("draw", run_config(seed))
    return node, store, store.folder("draw", node.slug, node.key)


def test_running_tells_epoch_time_left_and_place(tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "417")
    node, store, folder = state(tmp_path)
    with owner_lock(lock_of(folder), print):
        scratch = open_partial(folder) / "scratch"
        note_progress(scratch, 3, 10, "epoch 4/10", 90.0)
        (row,) = rows_of([node], store)
    assert row.state == "running"
    assert row.note.startswith("epoch 4/10, about 90 s left, ") and row.note.endswith(" job 417")
    (row,) = rows_of([node], store)
    assert row.state == "partial" and row.note == f"stopped in epoch 4/10; continue: {node.command}"


def test_the_estimate_runs_down_while_nothing_is_written(tmp_path):
    node, store, folder = state(tmp_path)
    with owner_lock(lock_of(folder), print):
        scratch = open_partial(folder) / "scratch"
        note_progress(scratch, 3, 10, "epoch 4/10", 90.0)
        note = json.loads((scratch / "progress.json").read_text())
        (scratch / "progress.json").write_text(json.dumps({**note, "written": time.time() - 60}))
        (row,) = rows_of([node], store)
    assert "about 30 s left" in row.note


def test_watching_ends_when_everything_is_done_or_failed(tmp_path, capsys, monkeypatch):
    config = run_config(cells={"seed": [0, 13]}, wants=["draw"], watch=0.01)
    graph, store = Graph(["experiment=toy"]), Store(tmp_path / "store")
    for cell in graph.cells(config):
        try:
            pull(tmp_path, "draw", cell.config)
        except ValueError:
            continue
    monkeypatch.setattr("pipeline.engine.status.nodes_of", lambda target: [state(tmp_path, s)[0] for s in (0, 13)])
    show_status(graph, store, config)
    shown = capsys.readouterr().out
    assert "failed (1)" in shown and "ValueError: unlucky seed" in shown and "1 done, 1 failed" in shown
    once = dataclasses.replace(config, watch=None)
    show_status(graph, store, once)
    assert "1 done, 1 failed" in capsys.readouterr().out
    assert not partial_of(state(tmp_path)[2]).exists()


def test_no_rank_is_left_without_rows():
    order = BatchOrder(9, 4, seed=0)
    for rank in range(3):
        assert [len(rows) for rows in order.epoch(0, rank, 3)] == [1, 1, 1]


@pytest.mark.parametrize("columns", ["40", "72", "100", "200", None])
def test_a_printed_command_can_be_copied_whatever_the_width(tmp_path, capsys, monkeypatch, columns):
    monkeypatch.delenv("COLUMNS", raising=False)
    if columns is not None:
        monkeypatch.setenv("COLUMNS", columns)
    config = run_config(cells={"seed": [0, 1, 2, 13]}, wants=["draw"])
    words = ["experiment=toy", "report.title='a long title of a report that many would call much too long'"]
    graph, store = Graph(words), Store(tmp_path / "store")
    cells = graph.cells(config)
    for cell in cells[1:]:
        try:
            pull(tmp_path, "draw", cell.config)
        except ValueError:
            pass
    folder = store.folder(*graph.resolve("draw", cells[1].config, cells[1].overrides).address)
    with owner_lock(lock_of(folder), print):
        note_progress(open_partial(folder) / "scratch", 3, 10, "epoch 4/10", 90.0)
    show_status(graph, store, config)
    shown = capsys.readouterr().out
    commands = [row.node.command for row in rows_of(nodes_of(graph.resolve("report", config)), store)]
    assert sum(len(command) for command in commands) / len(commands) > 80
    lines = shown.splitlines()
    for command, state_ in zip(commands, ["missing", "partial"], strict=False):
        assert any(command in line for line in lines), (columns, state_)
