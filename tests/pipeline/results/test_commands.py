"""``stage=list`` says what was made, when, how large and by which command; ``stage=results`` shows every number."""

import dataclasses

import pytest

from pipeline.checks.commands import command_problems
from pipeline.config.run import RunConfig, SelectConfig
from pipeline.engine.artifacts import Store
from pipeline.engine.graph import Graph
from pipeline.results.commands import show_list, show_results
from tests.pipeline.toy_cells import run_config


def test_a_list_has_a_line_for_each_artifact_the_oldest_first(study, capsys):
    show_list(Graph(), study[0], run_config())
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert lines[0].split() == ["made", "stage", "artifact", "MB", "seconds", "command"] or "seed" in lines[0]
    assert len(lines) == 1 + 7 and "total" in lines[-1] and "7 artifacts, 0." in said.err
    assert sum("python run.py experiment=toy seed=1 stage=draw" in line for line in lines) == 1


def test_results_go_to_the_file_that_out_names(study, tmp_path, capsys):
    show_results(Graph(), study[0], dataclasses.replace(run_config(), out=str(tmp_path / "all.csv")))
    assert "all.csv (" in capsys.readouterr().err
    assert "stage," in (tmp_path / "all.csv").read_text().splitlines()[0]


def test_an_empty_store_and_an_empty_choice_are_said(study, tmp_path, capsys):
    show_list(Graph(), Store(tmp_path / "none"), run_config())
    assert "none holds no finished artifact." in capsys.readouterr().err
    select = SelectConfig(until="2020-01-01")
    show_results(Graph(), study[0], dataclasses.replace(run_config(), select=select))
    assert "holds no finished artifact that select takes." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"out": "a.csv"}, "out=a.csv takes the table of stage=results, list or diff, and this is stage=report"),
        ({"between": ["a", "b"]}, "between names what stage=diff compares, and this is stage=report"),
        ({"select": SelectConfig(since="1d")}, "select says what stage=results and stage=list show"),
        ({"stage": "diff", "select": SelectConfig(since="1d")}, "select says what"),
    ],
)
def test_a_setting_that_the_command_does_not_read_is_refused(changes, words):
    assert [problem for problem in command_problems(RunConfig(**changes)) if words in problem]
