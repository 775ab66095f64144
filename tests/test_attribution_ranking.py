"""The ranking of attributions is made from kept numbers, which hold every method and intervals around their values."""

import doctest

import pytest

from pipeline.engine.cells import compose_run
from scripts import attribution_numbers, attribution_ranking

TASKS = attribution_ranking.read_tasks()
EXPERIMENTS = {"sst2": "attribution_ranking_texts"}


def test_examples_of_the_script_run():
    for module in (attribution_numbers, attribution_ranking):
        tested = doctest.testmod(module)
        assert tested.attempted and not tested.failed


def test_page_and_figure_are_those_of_the_kept_numbers():
    for path, content in attribution_ranking.pages().items():
        assert path.read_bytes() == content, f"{path.name}: run `python -m scripts.attribution_ranking`"
        assert path.suffix != ".svg" or len(content) < 120_000, path.name


def test_tasks_are_those_of_the_page():
    assert TASKS and set(TASKS) <= set(attribution_ranking.TASKS)


@pytest.mark.parametrize("task", TASKS)
def test_every_method_of_the_experiment_is_judged(task):
    held, experiment = TASKS[task], EXPERIMENTS.get(task, "attribution_ranking")
    choice = compose_run((f"experiment={experiment}",)).attribution
    lacking = {"cg_influence"} if task == "sst2" else set()  # of 492,208 unknowns, which took too long
    assert set(held["methods"]) - {"ceiling"} == {choice.method, *choice.methods} - lacking
    for name, one in held["methods"].items():
        found = [interval for target in one["scores"].values() for interval in target.values()]
        for value, low, high in found + [one["rise"]] if one["rise"] else found:
            assert low <= value <= high, name
        assert name == "ceiling" or one["cost"] is not None, f"{name}: no cost; make it in one go, without a kill"


def test_recall_alone_replaces_what_other_rows_gave(monkeypatch, tmp_path):
    class Marked:
        key, folder, metrics = "new", tmp_path, {"n_train": 240}
        provenance = {"command": "python run.py data.poison.kind=badnets", "commit": "a" * 40, "ended": "2026-11-30T20"}

    found = [
        {"mask": "injected training points", "method": "magic", "recall": 0.75},
        {"mask": "injected training points", "method": "unknown", "recall": 1.0},
    ]
    monkeypatch.setattr(attribution_numbers, "read_masks", lambda one: found)
    earlier = {"key": "old", "command": "data.poison.kind=badnets"}
    task = {
        "n_train": 240,
        "recall_rows": {"planted": 100},
        "made": [{"key": "whole", "command": "ranking"}, earlier],
        "methods": {name: {"recall": {"planted": 0.1, "flipped": 0.2}} for name in ("magic", "trak")},
    }
    made = attribution_numbers.with_recall(task, [Marked()])
    assert made["methods"]["magic"]["recall"] == {"planted": 0.75, "flipped": 0.2}
    assert made["methods"]["trak"]["recall"] == {"flipped": 0.2} and made["recall_rows"] == {"planted": 240}
    assert [one["key"] for one in made["made"]] == ["whole", "new"]
    found[0] |= {"method": "trak"}  # a further method on as many rows
    assert attribution_numbers.with_recall(made, [Marked()])["methods"]["magic"]["recall"]["planted"] == 0.75
