"""The plan beyond this machine is that of the experiments, and costs what the planner says."""

import json

import pytest

from pipeline.engine.cells import compose_run
from pipeline.engine.planned import core_hours, planned_lines
from scripts import beyond


def test_the_page_is_that_of_the_plan():
    text = beyond.PAGE.read_text(encoding="utf-8")
    assert text == beyond.page(text), "run `python -m scripts.beyond`"


@pytest.mark.parametrize("item", beyond.PLAN, ids=[item.overrides[0] for item in beyond.PLAN])
def test_an_item_costs_what_the_planner_says_of_its_command(item):
    config = compose_run((*item.overrides, "scale=published"))
    (line,) = [one for one in planned_lines(config, [("train", "missing"), ("kernel", "missing")]) if "hours" in one]
    hours = core_hours(config)
    assert line.startswith(f"planned time: {hours:.3g} of {hours:.3g} core hours are left")


def test_gpu_hours_follow_from_the_rates(monkeypatch):
    rate = json.loads(beyond.CORE.read_text(encoding="utf-8"))["multiply_adds_per_second"]
    monkeypatch.setattr(beyond, "GPU_RATE", 2 * rate)
    assert all(row["gpu"] == pytest.approx(row["core"]) for row in beyond.rows())
