"""What the report reads of the attribution of disagreement."""

from __future__ import annotations

from typing import TypedDict

import numpy as np

from pipeline.engine.artifacts import Artifact

SETS = "sets.parquet"
ARRAYS = "spread.safetensors"


class SetRow(TypedDict):
    """How far the judging seeds disagree after one set of training points was left out."""

    set: str
    churn: float
    variance: float
    accuracy: float


def read_sets(spread: Artifact) -> list[SetRow]:
    """Read one row per set; the first is ``nothing``."""
    return spread.rows(SETS)


def read_scores(spread: Artifact) -> np.ndarray:
    """Read the derivative of the variance by the weight of each training point, (n,)."""
    return spread.arrays(ARRAYS)["scores"]
