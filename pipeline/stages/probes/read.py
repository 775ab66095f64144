"""What stage ``probes`` wrote, by file: probe curves, collapse by layer, and both along training, and controls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

import numpy as np

from analysis.probes.layer import ProbeRow
from analysis.probes.neural_collapse import NeuralCollapse
from pipeline.engine.artifacts import Artifact

POINTS = "probes.parquet"
COLLAPSE = "collapse.parquet"
CURVES = "curves.safetensors"
HISTORY = "history.parquet"
ONSETS = "onsets.parquet"
CONTROLS = "controls.parquet"
VARIANCE = "explained_variance."
"""Followed by the layer's name, the key of its explained variance in the curves."""

SUFFICIENT = 100
"""Components that suffice for k-NN and nearest class center, as published."""
LOW_VARIANCE = 0.2
"""Share of the variance that is enough in some layers, as published."""


class CollapseRow(NeuralCollapse):
    """Neural collapse of one layer; ``nc3`` is NaN but for the penultimate layer, ``degenerate`` for a constant one."""

    layer: str
    width: int
    nc3: float
    nc4: float
    degenerate: bool


class Accuracies(TypedDict):
    """Test accuracy of each surrogate on all components."""

    knn: float
    ncc: float
    svm: float


class HistoryRow(CollapseRow, Accuracies):
    """One layer at one snapshot."""

    step: int
    epoch: float


class ControlRow(Accuracies):
    """One layer under one control, with the network's accuracy on the same rows."""

    control: str
    layer: str
    network: float


class OnsetColumns(TypedDict):
    """Layer of onset (or ``no onset``), its index (or None), and both ends of its bootstrap interval."""

    onset: str
    onset_index: int | None
    onset_low: str
    onset_high: str


class OnsetRow(OnsetColumns):
    """Onset and the network's accuracy at one snapshot."""

    step: int
    epoch: float
    network: float


@dataclass(frozen=True)
class Curves:
    """Arrays behind the onset and its figures.

    Attributes
    ----------
    explained_variance : dict of str to ndarray
        By layer, one share for each component.
    correct : ndarray of uint8, shape (layers, surrogates, test rows)
        Whether each surrogate is right on all components.
    at_sufficient, at_low_variance : ndarray of uint8, shape (layers, surrogates, test rows)
        The same from about ``SUFFICIENT`` components, and from as many as explain at most ``LOW_VARIANCE``.
    counts : ndarray of int64, shape (layers, 2)
        Both numbers of components; 0 where no number explains so little.
    center_differs : ndarray of uint8, shape (layers, test rows)
        Whether nearest class center and network disagree (NC4 is the mean).
    network : ndarray of uint8, shape (test rows,)
        Whether the network is right.
    onset_probability : ndarray, shape (layers + 1,)
        Share of bootstrap draws by layer; the last entry is "no onset".
    spread : ndarray, shape (layers,)
        Largest minus smallest accuracy of the surrogates.
    """

    explained_variance: dict[str, np.ndarray]
    correct: np.ndarray
    at_sufficient: np.ndarray
    at_low_variance: np.ndarray
    counts: np.ndarray
    center_differs: np.ndarray
    network: np.ndarray
    onset_probability: np.ndarray
    spread: np.ndarray


def read_points(artifact: Artifact) -> list[ProbeRow]:
    """Read every classifier at every number of components; k = 0 is the centered raw feature."""
    return artifact.rows(POINTS)


def read_collapse(artifact: Artifact) -> list[CollapseRow]:
    """Read the collapse measures, one row for each layer."""
    return artifact.rows(COLLAPSE)


def read_curves(artifact: Artifact) -> Curves:
    """Read the arrays behind the onset and its figures."""
    arrays = artifact.arrays(CURVES)
    variance = {name.removeprefix(VARIANCE): arrays.pop(name) for name in list(arrays) if name.startswith(VARIANCE)}
    return Curves(variance, **arrays)


def read_history(artifact: Artifact) -> list[HistoryRow]:
    """Read the collapse by snapshot and layer; empty without ``probes.history``."""
    return artifact.rows(HISTORY, optional=True)


def read_onsets(artifact: Artifact) -> list[OnsetRow]:
    """Read the onset by snapshot; empty without ``probes.history``."""
    return artifact.rows(ONSETS, optional=True)


def read_controls(artifact: Artifact) -> list[ControlRow]:
    """Read the probes of permuted labels and of noisy rows; empty without ``probes.controls``."""
    return artifact.rows(CONTROLS, optional=True)
