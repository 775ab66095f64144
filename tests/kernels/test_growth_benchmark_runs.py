"""The benchmarks of growth and of parts take their path at a tiny size; what they print follows from their numbers."""

import pytest
import torch
from torch import nn

from benchmarks.kernel_growth import draw, growth, run_cell, table
from benchmarks.kernel_parts import PARTS, parts
from kernels.capture.capture import Capture
from kernels.contraction.assembly import Assembly


def test_a_cell_gives_seconds_limit_plan_and_memory() -> None:
    row = run_cell("mlp", 16, patience=0.0)
    assert row["n"] == 16 and row["seconds"] > 0 and 0 < row["plan"] <= row["first_plan"] and row["peak_mb"] >= 0
    assert row["limit"] > row["steps"] > 0
    pair = sum(fan + 1 + out for fan, out in ((784, 512), (512, 512), (512, 10)))
    assert row["flop"] == 2 * pair * 16 * 17 / 2


def test_exponents_are_those_of_neighbors_and_failures_have_none(tmp_path) -> None:
    rows = [{"n": n, "seconds": 3.0 * n**2, "steps": 1.0, "limit": 2.0, "plan": 1.0, "peak_mb": 5.0} for n in (2, 4, 8)]
    assert growth(rows) == [None, pytest.approx(2.0), pytest.approx(2.0)]
    rows.append({"n": 16, "failed": "no result in 900 s"})
    assert growth(rows)[3] is None
    lines = table("mlp", rows).splitlines()
    assert "| 4 | 48 | 1 s | 2 | 24.00 | 1 | 0.02 |  | 2.00 | 5 |" in lines and "no result in 900 s" in lines[-1]
    draw({"mlp": rows, "gpt2": rows[:1]}, tmp_path / "growth.svg")
    picture = (tmp_path / "growth.svg").read_text()
    assert "<svg" in picture and "<dc:date>" not in picture


def test_parts_of_a_kernel_add_up_and_the_engine_is_left_as_it_was(monkeypatch) -> None:
    before = Assembly._tile, Capture.certify
    monkeypatch.setattr("benchmarks.kernel_cells.build", lambda *_: (nn.Linear(4, 3).eval(), torch.randn(6, 4)))
    step, found = parts("mlp", "pntk", torch.get_num_threads(), seconds=0.0)
    assert step > 0 and found["whole"] == pytest.approx(sum(found.values()) - found["whole"])
    assert all(found[name] > 0 for name in (*PARTS, "rest"))
    assert (Assembly._tile, Capture.certify) == before
