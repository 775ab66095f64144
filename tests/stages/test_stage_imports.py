"""Stages meet through what they read of each other; what computes an artifact is imported by the stage table alone."""

from __future__ import annotations

import ast
from pathlib import Path

PIPELINE = Path(__file__).parents[2] / "pipeline"
MODULES = [path for path in sorted(PIPELINE.rglob("*.py")) if path.name != "__init__.py"]
STAGES = PIPELINE / "stages"
SHARED = {
    "features.layers": "layer outputs of one split, which probes and layer kernels compute at other weights",
    "surrogate.machine": "the configured kernel machine, which layer kernels fit to each layer",
    "attribution.methods": "the attribution methods, which retraining judges",
}
"""Modules other than ``read`` that other stages may import, and why."""
TRAINING = {"train_classifier", "replay", "train_block"}


def imports(path: Path) -> list[tuple[str, str]]:
    """Module and name of everything that a file imports from a module, inside functions too."""
    return [
        (node.module or "", alias.name)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    ]


def stage_imports(path: Path) -> list[str]:
    """Modules of stages that a file imports from, as ``stage.module``."""
    modules = [module for module, _ in imports(path)]
    return [module.removeprefix("pipeline.stages.") for module in modules if module.startswith("pipeline.stages.")]


def test_what_runs_a_stage_is_imported_by_nothing():
    for path in MODULES:
        running = [module for module in stage_imports(path) if module.endswith(".run")]
        assert not running, f"{path} imports {running}"


def test_stages_import_only_what_others_offer():
    for path in MODULES:
        if STAGES not in path.parents:
            continue
        for module in stage_imports(path):
            stage, _, rest = module.partition(".")
            assert stage == path.parent.name or rest == "read" or module in SHARED, f"{path} imports {module}"


def test_nothing_below_the_stages_imports_them():
    # a study from a notebook is above them, and reads their files by their own readers
    for path in MODULES:
        if not {STAGES, STAGES.parent / "study"} & set(path.parents):
            assert not stage_imports(path), path


def test_only_the_training_stages_train():
    training = {
        path.parent
        for path in MODULES
        for module, name in imports(path)
        if module.startswith("pipeline.training.") and name in TRAINING
    }
    assert training == {STAGES / "train"}
