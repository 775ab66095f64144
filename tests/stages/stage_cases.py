"""Run one stage function on upstream artifacts that a test writes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from pipeline.config.run import RunConfig
from pipeline.engine.artifacts import Artifact, Store, open_partial, write_json
from pipeline.engine.build import Build, Gathered
from pipeline.engine.cells import compose_run
from pipeline.engine.graph import Graph
from pipeline.engine.inventory.completion import complete


def artifact_with_files(
    folder: Path, files: Mapping[str, Mapping[str, np.ndarray]], metrics: Mapping[str, Any]
) -> Artifact:
    """Finish an artifact that holds safetensors files and metrics."""
    partial = open_partial(folder)
    for name, arrays in files.items():
        (partial / name).parent.mkdir(parents=True, exist_ok=True)
        save_file({key: np.asarray(value, order="C") for key, value in arrays.items()}, partial / name)
    write_json(partial / "metrics.json", dict(metrics))
    return complete(folder, {"stage": folder.parent.name, "key": "0" * 12, "version": 1}, {})


def run_on(
    tmp_path: Path,
    stage: Callable[[Build], dict[str, Any]],
    config: RunConfig,
    inputs: Mapping[str, Artifact],
    name: str = "example",
) -> Gathered:
    """Run a stage function and finish its artifact, as the pipeline does."""
    graph = Graph()
    node = dataclasses.replace(graph.resolve("prepare", compose_run(("data=parabola",))), config=config)
    folder = tmp_path / stage.__name__ / f"{name}-000000000000"
    build = Build(node, graph, Store(tmp_path), open_partial(folder), dict(inputs))
    write_json(build.folder / "metrics.json", stage(build))
    artifact = complete(folder, {"stage": stage.__name__, "key": "0" * 12, "version": 1}, {})
    return Gathered({"seed": "0"}, config, artifact, "python run.py")


def following(member: Gathered, paper: str) -> Gathered:
    """Put a member into a report that follows a paper."""
    report = dataclasses.replace(member.config.report, study=f"arXiv:{paper}")
    return dataclasses.replace(member, config=dataclasses.replace(member.config, report=report))
