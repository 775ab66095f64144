"""``stage=browse`` writes the page or says in one sentence why not: each row of docs/browse.md."""

import dataclasses
import re
from pathlib import Path

import pytest

from pipeline.browse.commands import show_browser
from pipeline.checks.commands import command_problems
from pipeline.checks.general import check
from pipeline.config.run import RunConfig
from pipeline.engine.artifacts import Store
from pipeline.engine.graph import Graph
from pipeline.errors import UserError
from tests.pipeline.toy_cells import run_config

CASES = {
    "a store that is not there": ({}, "none", "There is no store .*none: run an experiment first"),
    "a page of another kind": ({"out": "page.csv"}, "", "out=page.csv is no name of a page: end it with .html"),
    "a file that cannot be written": ({"out": "FILE/in/it.html"}, "", "cannot be written to .*name another file"),
}


def test_the_page_is_written_into_the_store_and_elsewhere(store, tmp_path, capsys):
    show_browser(Graph(), store, run_config())
    assert "(18 artifacts" in capsys.readouterr().err
    assert "What was made here" in (store.root / "browse.html").read_text(encoding="utf-8")
    (store.root / "browse.html").unlink()
    show_browser(Graph(), store, dataclasses.replace(run_config(), out=str(tmp_path / "my pages" / "runs.html")))
    assert [path.name for path in (tmp_path / "my pages").iterdir()] == ["runs.html"]


@pytest.mark.parametrize("case", CASES)
def test_what_cannot_be_done_is_one_sentence(store, tmp_path, case):
    settings, root, words = CASES[case]
    (tmp_path / "FILE").write_text("mine")
    settings = {name: value.replace("FILE", str(tmp_path / "FILE")) for name, value in settings.items()}
    with pytest.raises(UserError, match=words):
        show_browser(Graph(), Store(tmp_path / root) if root else store, dataclasses.replace(run_config(), **settings))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {"stage": "results", "serve": 8000},
            "serve=8000 keeps the page of stage=browse fresh, and this is stage=results",
        ),
        ({"stage": "browse", "serve": 8000, "out": "a.html"}, "leave one out"),
    ],
)
def test_settings_that_exclude_each_other_are_refused(settings, words):
    assert [one for one in command_problems(RunConfig(**settings)) if words in one]


def test_a_port_that_does_not_exist_is_refused():
    with pytest.raises(UserError, match="serve=70000"):
        check(RunConfig(stage="browse", serve=70_000))


def test_each_row_of_the_page_on_bad_input_has_a_test():
    text = (Path(__file__).parents[3] / "docs" / "browse.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (?!what|---)(.*?) \|", text, flags=re.MULTILINE)
    others = ["a port that is taken", "a port that does not exist", "`serve` of another stage", "`serve` and `out`"]
    assert sorted(rows) == sorted([*CASES, *others])
