"""What the report reads of retrainings: scores of attribution methods, margins without chosen points."""

from __future__ import annotations

from typing import TypedDict

from pipeline.engine.artifacts import Artifact

DATAMODELING = "lds.parquet"
LEAVE_OUT = "leave_out.parquet"
ARRAYS = "retraining.safetensors"


class DatamodelingRow(TypedDict):
    """Linear datamodeling score of one method, with its interval over parts of the training rows and test points."""

    method: str
    mean: float
    low: float
    high: float
    points: int


class LeaveOutRow(TypedDict):
    """Change of the margin after one set of points is dropped, and the share of flipped decisions."""

    set: str
    change: float
    low: float
    high: float
    flips: float | None
    points: int


def read_datamodeling(retraining: Artifact) -> list[DatamodelingRow]:
    """Read one row per method; empty where no parts were retrained."""
    return retraining.rows(DATAMODELING, optional=True)


def read_leave_out(retraining: Artifact) -> list[LeaveOutRow]:
    """Read one row per dropped set; empty where no points were dropped."""
    return retraining.rows(LEAVE_OUT, optional=True)
