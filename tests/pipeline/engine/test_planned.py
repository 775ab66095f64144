"""The status of a published setting says what is lacking and how long it takes."""

from dataclasses import replace

import pytest

from pipeline.config.published import PublishedConfig
from pipeline.config.run import RunConfig
from pipeline.engine.planned import planned_lines

CONFIG = RunConfig(
    cells={"seed": "0:10"}, published=PublishedConfig("protocol", unknown="the rate", train_hours=0.5, rest_hours=2.0)
)


def test_the_core_hours_left_follow_what_is_missing():
    states = [("prepare", "missing"), *[("train", "done")] * 5, *[("train", "missing")] * 5, ("report", "missing")]
    states += [("kernel", "missing")] * 10
    lines = list(planned_lines(CONFIG, states))
    assert lines[0] == "lacks: 1 prepare, 5 train, 1 report, 10 kernel"
    assert lines[1].startswith("lacks the rows of")
    assert lines[2] == "not published, so chosen here: the rate"
    # 5 seeds of training are left, and the rest of all 10: 5 · 0.5 + 10 · 2
    assert lines[3].startswith("planned time: 22.5 of 25 core hours are left (10 seeds, each 0.5 to train and 2 for")


@pytest.mark.parametrize("missing", ["train_hours", "rest_hours"])
def test_a_time_that_nobody_measured_is_not_made_up(missing):
    config = replace(CONFIG, published=replace(CONFIG.published, lacks="the weights", **{missing: None}))
    lines = list(planned_lines(config, [("train", "done")]))
    assert lines == [
        "no override makes the published setting whole: the weights",
        "not published, so chosen here: the rate",
        "planned time: not measured at this setting",
    ]
