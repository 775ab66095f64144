"""What others read of a surrogate: coefficients, predictions, faithfulness and the published code's numbers."""

from __future__ import annotations

from typing import TypedDict

import numpy as np

from analysis.surrogates.faithfulness import Measure
from pipeline.engine.artifacts import Artifact

COEFFICIENTS = "coefficients.safetensors"
FAITHFULNESS = "faithfulness.parquet"
PREDICTIONS = "predictions.safetensors"
PUBLISHED = "published.parquet"


class PublishedRow(TypedDict):
    """One number of the published code beside the corrected one; None where it is undefined."""

    defect: str
    quantity: str
    corrected: float | None
    published: float | None
    note: str


def read_coefficients(surrogate: Artifact) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Read the weights (C, n) and offsets (C,); None for k-NN, which has none."""
    if not surrogate.has(COEFFICIENTS):
        return None, None
    arrays = surrogate.arrays(COEFFICIENTS)
    return arrays["weights"], arrays["offsets"]


def read_predictions(surrogate: Artifact) -> dict[str, np.ndarray]:
    """Read ``SPLIT.surrogate`` and ``SPLIT.network`` log-scores, ``SPLIT.ids`` and ``SPLIT.labels``."""
    return surrogate.arrays(PREDICTIONS)


def read_faithfulness(surrogate: Artifact) -> list[Measure]:
    """Read one row for each measure, variant and test split."""
    return [Measure(**row) for row in surrogate.rows(FAITHFULNESS)]


def read_published(surrogate: Artifact) -> list[PublishedRow]:
    """Read the published code's numbers; empty unless ``surrogate.protocol`` is published."""
    return surrogate.rows(PUBLISHED, optional=True)
