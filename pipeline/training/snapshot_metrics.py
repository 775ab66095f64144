"""Numbers of a run that its snapshots end with."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from pipeline.engine.artifacts import finite_or_none
from pipeline.machine.ranks import is_main_process
from pipeline.training.snapshot_schedule import STEPS, record_file, step_folder


def snapshot_metrics(folder: Path, record: Sequence[str]) -> dict[str, Any]:
    """Numbers of an artifact of snapshots, from its files: what it holds, and the curvature at its ends.

    Parameters
    ----------
    folder : Path
        Of the finished files.
    record : sequence of str
        What was recorded.
    """
    if not is_main_process():  # whose files they are
        return {}
    steps = [moment["step"] for moment in json.loads((folder / STEPS).read_text(encoding="utf-8"))]
    metrics: dict[str, Any] = {"snapshots": len(steps), "record": sorted(record)}
    if "curvature" in record:
        for moment, step in (("start", steps[0]), ("end", steps[-1])):
            arrays = load_file(folder / step_folder(step) / record_file("curvature"))
            for name, matrix in (("sharpness", "hessian"), ("gauss_newton", "gauss_newton")):
                metrics[f"{name}_{moment}"] = finite_or_none(float(arrays[f"{matrix}.eigenvalues"][0]))
    return metrics
