"""What stage ``barriers`` wrote: a row for each network on a line, way to match and split."""

from __future__ import annotations

from typing import TypedDict

from pipeline.engine.artifacts import Artifact

PATHS = "paths.parquet"


class PathRow(TypedDict):
    """Loss and error (a share) of one network on the line, at ``place`` from 0, the run's own, to 1, the other's."""

    matching: str
    split: str
    place: float
    loss: float
    error: float


def read_paths(barriers: Artifact) -> list[PathRow]:
    """Read every row, places in order within a way to match and a split."""
    return barriers.rows(PATHS)
