"""Settings of a command are refused where what is to be made does not read them."""

import pytest

from pipeline.checks.commands import command_problems, unused_axes
from pipeline.config.run import RunConfig
from pipeline.engine.cells import compose_run
from pipeline.engine.graph import Graph
from pipeline.engine.plan import every_node
from pipeline.engine.stages import COMMANDS
from pipeline.entry import execute
from pipeline.errors import UserError


@pytest.mark.parametrize("stage", COMMANDS)
def test_a_command_that_makes_nothing_refuses_a_rebuild(stage):
    words = ("rebuild=[train]", f"stage={stage}")
    with pytest.raises(UserError, match=rf"rebuild=\[train\] makes artifacts again, and stage={stage} makes none"):
        execute(compose_run(words), words)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"stage": "status", "gc_delete": True}, "gc_delete=true deletes what stage=gc lists"),
        ({"stage": "gc", "gc_finished": True}, "gc_finished=true says what stage=gc gc_delete=true deletes"),
        ({"stage": "status", "gc_thin": ["kernel"]}, "says what stage=gc lists, and this is stage=status"),
        ({"stage": "gc", "gc_thin": ["kernels"]}, "gc_thin: there is no stage kernels; there are "),
        ({"stage": "train", "watch": 2.0}, "watch=2 repeats stage=status"),
        ({"stage": "train", "allow_missing": 1}, "stage=train gathers none"),
        ({"stage": "status", "allow_missing": 1}, "stage=status gathers none"),
    ],
)
def test_a_setting_of_another_command_is_refused(settings, words):
    typed = [f"{name}={value}" for name, value in settings.items()]
    (problem,) = command_problems(RunConfig(**settings), typed)
    assert words in problem


@pytest.mark.parametrize(
    "settings",
    [
        {"stage": "gc", "gc_delete": True},
        {"stage": "status", "watch": 2.0},
        {"stage": "statistics", "allow_missing": 1},
    ],
)
def test_where_it_is_read_it_is_taken(settings):
    assert not list(command_problems(RunConfig(**settings), [f"{name}={value}" for name, value in settings.items()]))


def test_a_scale_that_a_file_sets_is_refused():
    (problem,) = command_problems(RunConfig(scale="published"), ["experiment=mine"])
    assert "works on the command line only" in problem
    assert not list(command_problems(RunConfig(scale="published"), ["experiment=mine", "scale=published"]))


def test_a_file_may_say_what_its_report_goes_without_whatever_is_made():
    assert not list(command_problems(RunConfig(stage="train", allow_missing=1), ["experiment=mine", "stage=train"]))


def test_axes_that_one_run_does_not_follow_are_said():
    config = RunConfig(stage="train", seed=3, cells={"seed": "0:8"})
    assert "makes one run, that of seed=3; all cells of cells.seed" in str(unused_axes(config, ["cells.seed=0:8"]))
    assert unused_axes(config, ["experiment=mine"]) is None
    assert unused_axes(RunConfig(stage="statistics", cells={"seed": "0:8"}), ["cells.seed=0:8"]) is None


def test_what_was_to_be_shown_is_no_part_of_the_commands_that_are_printed():
    words = ("cells.seed=0:2", "wants=[train]", "stage=status", "++watch=3", "+gc_delete=true")
    for node in every_node(Graph(words).resolve("report", compose_run(words[:2]))):
        assert "watch" not in node.command and "gc_delete" not in node.command
