"""What the report reads of retrainings: scores of attribution methods, margins without chosen points."""

from __future__ import annotations

from typing import TypedDict

from pipeline.engine.artifacts import Artifact

DATAMODELING = "lds.parquet"
LEAVE_OUT = "leave_out.parquet"
ARRAYS = "retraining.safetensors"
OMITTED = "omitted.parquet"
TOP_OMITTED = "top_omitted.parquet"
SMOOTHNESS = "smoothness.parquet"
STEP_PARTS, STEP_SHARE = 6, 0.1
"""Random parts whose weights fall by steps, to see how smooth the run is, and their share of the training points."""


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


class OmittedRow(TypedDict):
    """Linear datamodeling score of one method, where a share of the rows is left out under the same batches."""

    method: str
    share: float
    target: str
    mean: float
    low: float
    high: float
    points: int


class TopOmittedRow(TypedDict):
    """Rise of a test point's loss after its strongest supporters by one method are left out."""

    method: str
    rise: float
    low: float
    high: float
    points: int
    omitted: int


class SmoothnessRow(TypedDict):
    """How far the derivative of a training foretells what a finite step of weights does."""

    step: float
    error: float
    correlation: float


def read_omitted(retraining: Artifact) -> list[OmittedRow]:
    """Read one row per method, share and target; empty where nothing was left out."""
    return retraining.rows(OMITTED, optional=True)


def read_top_omitted(retraining: Artifact) -> list[TopOmittedRow]:
    """Read one row per method; empty where no supporters were left out."""
    return retraining.rows(TOP_OMITTED, optional=True)


def read_smoothness(retraining: Artifact) -> list[SmoothnessRow]:
    """Read one row per step; empty without magic."""
    return retraining.rows(SMOOTHNESS, optional=True)


def read_datamodeling(retraining: Artifact) -> list[DatamodelingRow]:
    """Read one row per method; empty where no parts were retrained."""
    return retraining.rows(DATAMODELING, optional=True)


def read_leave_out(retraining: Artifact) -> list[LeaveOutRow]:
    """Read one row per dropped set; empty where no points were dropped."""
    return retraining.rows(LEAVE_OUT, optional=True)
