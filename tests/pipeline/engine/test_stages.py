"""The stage table: every function that it names exists, and what a stage makes itself is what its row says."""

import ast
import re
from pathlib import Path

import pytest

import pipeline.stages
from pipeline.engine.artifacts import Store
from pipeline.engine.build import Build
from pipeline.engine.cells import CONF, compose_run
from pipeline.engine.freeze import first_page
from pipeline.engine.graph import Graph
from pipeline.engine.stages import COMMANDS, STAGES, load_function
from pipeline.help import help_page

FOLDER = Path(pipeline.stages.__file__).parent


@pytest.mark.parametrize("stage", STAGES.values(), ids=list(STAGES))
def test_every_function_of_a_row_can_be_imported(stage):
    for spec in filter(None, (stage.function, stage.report, stage.identity, stage.foresees)):
        assert callable(load_function(spec)), spec


def test_every_report_section_of_a_stage_folder_is_in_the_table():
    written = {
        f"pipeline.stages.{path.parent.name}.{path.stem}:section"
        for path in FOLDER.glob("*/*.py")
        if any(
            isinstance(item, ast.FunctionDef) and item.name == "section" for item in ast.parse(path.read_text()).body
        )
    }
    assert written == {stage.report for stage in STAGES.values()} - {None}


def test_the_first_page_of_the_configuration_lists_every_stage_and_tracker():
    text = (CONF / "config.yaml").read_text()
    assert " ".join(STAGES) in re.sub(r"\s+# ", " ", text) and "wandb_offline" in text
    assert first_page(text) == text, "run python -m pipeline.engine.freeze"
    stale = text.replace("retraining ", "").replace("mlflow | ", "")
    assert first_page(stale) == text


def test_help_lists_every_stage():
    assert " ".join([*STAGES, *COMMANDS]) in " ".join(help_page().split())


def test_the_table_lists_what_stages_make_themselves():
    """Stage functions reach further artifacts through ``Build.own_node`` alone, so its calls are the whole list."""
    made: dict[str, set[str]] = {}
    for path in FOLDER.glob("*/*.py"):
        for item in ast.walk(ast.parse(path.read_text())):
            if isinstance(item, ast.Call) and isinstance(item.func, ast.Attribute):
                assert item.func.attr != "resolve" or "graph" not in ast.unparse(item.func), f"{path}:{item.lineno}"
                if item.func.attr == "own_node":
                    made.setdefault(path.parent.name, set()).add(ast.literal_eval(item.args[0]))
    assert made == {name: set(stage.makes) for name, stage in STAGES.items() if stage.makes}


def test_a_stage_cannot_make_what_its_row_does_not_list():
    graph, config = Graph(), compose_run(())
    build = Build(graph.resolve("toy", config), graph, Store(Path("store")), Path("partial"), {})
    with pytest.raises(ValueError, match="'toy' makes 'train', but its row"):
        build.own_node("train", config, ())
