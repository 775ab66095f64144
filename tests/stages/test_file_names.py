"""A stage's files are known to the stage alone: others read them through its read module."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PIPELINE = Path(__file__).parents[2] / "pipeline"
STAGES = sorted(path.name for path in (PIPELINE / "stages").iterdir() if (path / "__init__.py").exists())
SHOWING = ("report", "claims")
PAYLOAD = re.compile(r"[\w{}-]*\.(parquet|safetensors)$|^history\.csv$|^steps?\.json$")


def modules(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*.py")) if path.name != "__init__.py"]


def spelled(path: Path) -> Iterator[str]:
    """Yield the names of payload files among a module's strings, but for docstrings."""
    tree = ast.parse(path.read_text())
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            if PAYLOAD.search(node.value):
                yield node.value


def constants(path: Path) -> set[str]:
    """Names that a module binds to a payload file's name."""
    return {
        target.id
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        if isinstance(node.value.value, str) and PAYLOAD.search(node.value.value)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def imported(path: Path, module: str) -> set[str]:
    """Names that a module imports from another."""
    return {
        alias.name
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module == module
        for alias in node.names
    }


@pytest.mark.parametrize("stage", STAGES)
def test_only_run_and_read_spell_file_names(stage):
    folder = PIPELINE / "stages" / stage
    elsewhere = {
        str(path.relative_to(folder)): names
        for path in modules(folder)
        if path.stem not in ("run", "read") and (names := list(spelled(path)))
    }
    assert not elsewhere


@pytest.mark.parametrize("stage", STAGES)
def test_names_of_files_stay_in_their_stage(stage):
    read = PIPELINE / "stages" / stage / "read.py"
    if not read.exists():
        return
    own = constants(read)
    for path in modules(PIPELINE):
        taken = imported(path, f"pipeline.stages.{stage}.read") & own
        assert not taken or (path.parent == read.parent and path.stem not in SHOWING), f"{path} imports {taken}"


def test_files_of_training_are_named_by_their_writer_alone():
    writers = modules(PIPELINE / "training")
    own = {f"pipeline.training.{path.stem}": constants(path) for path in writers}
    assert own["pipeline.training.networks"] >= {"WEIGHTS", "LOGITS"}
    for path in modules(PIPELINE):
        if path.parent == PIPELINE / "training":
            continue
        taken = {name for module, names in own.items() for name in imported(path, module) & names}
        inside = path.parent == PIPELINE / "stages" / "train" and not path.stem.startswith(SHOWING)
        assert not taken or inside, f"{path} imports {taken}"


def test_no_other_part_of_the_pipeline_spells_file_names():
    for part in ("checks", "config", "engine", "machine", "reporting", "tracking"):
        for path in modules(PIPELINE / part):
            assert not list(spelled(path)), path


@pytest.mark.parametrize("stage", STAGES)
def test_every_file_name_is_said_once(stage):
    names = [name for path in modules(PIPELINE / "stages" / stage) for name in spelled(path) if "{" not in name]
    assert len(names) == len(set(names)), names
