"""The live table tells stage, cell, epoch or tile, and times, and has room for what runs."""

import io
import json

from rich.console import Console

from pipeline.engine.artifacts import open_partial
from pipeline.engine.schedule.live_table import MOST_ROWS, Running, live_table, running
from pipeline.machine.progress import note_progress, read_progress


def drawn(*arguments):
    console = Console(file=io.StringIO(), width=120)
    console.print(live_table(*arguments))
    return console.file.getvalue()


def test_it_says_what_runs_and_when_all_is_done():
    rows = [Running("train", "resnet18, width 8 | seed 0", "epoch 3/10, 0:40", 93.0)]
    text = drawn(rows, {"done": 4, "running": 1, "waiting": 0, "failed": 0}, 605.0, 61.0)
    assert "resnet18, width 8 | seed 0" in text and "epoch 3/10, 0:40" in text and "1:33" in text
    assert "4 done, 1 running, 0 waiting; 1:01 so far, about 10:05 left" in text and "failed" not in text
    many = drawn([rows[0]] * (MOST_ROWS + 5), {"failed": 2}, None, None)
    assert "and 5 more" in many and "2 failed" in many and "left" not in many.splitlines()[-1]


def test_a_kernel_tells_its_tile_and_a_training_its_epoch(tmp_path):
    scratch = open_partial(tmp_path / "kernel" / "a-000000000000") / "scratch"
    plan = {"rows": 10, "columns": 10, "row_block": 4, "column_block": 4, "square": True}
    ledger = scratch / "train.safetensors.ledger"
    ledger.write_text("")
    assert read_progress(scratch) is None
    ledger.write_text(json.dumps({"plan": plan}) + "\n" + json.dumps({"tile": "0:0"}) + "\n")
    assert read_progress(scratch)["text"] == "train tile 2/6"
    row = running("kernel", "pntk", tmp_path / "kernel" / "a-000000000000", 30.0, 90.0)
    assert (row.progress, row.left) == ("train tile 2/6, 0:30", 60.0)
    note_progress(scratch, 3, 10, "epoch 4/10", 20.0)
    row = running("train", "", tmp_path / "kernel" / "a-000000000000", 30.0, 90.0)
    assert row.progress == "epoch 4/10, 0:30" and 19.0 < row.left <= 20.0
