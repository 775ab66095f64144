"""What stage ``regression`` wrote, by file: machines at snapshots, arrays of the last one, refitted heads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.engine.artifacts import Artifact

MACHINES = "machines.parquet"
LAST = "last.safetensors"
HEADS = "heads.parquet"


@dataclass(frozen=True)
class FunctionRow:
    """Errors of the network or of one kernel machine at one snapshot; None where the network has no such number.

    Attributes
    ----------
    step : int
    machine : str
        nn, ck, ntk, ck_svd or ck_loo.
    test_rms, interior_rms, edge_rms : float
        On all test points, without the two beyond the last training point, and on those two.
    rank : int or None
        Of the machine's solution.
    cutoff : float or None
        Relative eigenvalue below which a direction is left out.
    ratio, extension, bracket, lower, upper : float or None
        Of the machine's error over the network's, see :class:`analysis.regression.loss_ratio.LossRatio`; here the
        bracket is its root mean square.
    bounds_hold : bool or None
    gap : float or None
    slope, decay_r2 : float or None
        Of the Gram's eigenvalue decay; Gram machines only.
    """

    step: int
    machine: str
    test_rms: float
    interior_rms: float
    edge_rms: float
    rank: int | None = None
    cutoff: float | None = None
    ratio: float | None = None
    extension: float | None = None
    bracket: float | None = None
    lower: float | None = None
    upper: float | None = None
    bounds_hold: bool | None = None
    gap: float | None = None
    slope: float | None = None
    decay_r2: float | None = None


@dataclass(frozen=True)
class LogisticRow:
    """Scores of the network or of one logistic kernel machine at one snapshot."""

    step: int
    machine: str
    cross_entropy: float
    accuracy: float
    train_accuracy: float
    separable: bool
    penalty: float
    converged: bool


@dataclass(frozen=True)
class HeadRow:
    """One output layer on stored features; size 0 is the network's own."""

    size: int
    redraw: int
    penalty: float
    converged: bool
    accuracy: float
    balanced_accuracy: float
    cross_entropy: float


def read_functions(artifact: Artifact) -> list[FunctionRow]:
    """Read the machines of ``regression.task=function``."""
    return [FunctionRow(**row) for row in artifact.rows(MACHINES)]


def read_logistic(artifact: Artifact) -> list[LogisticRow]:
    """Read the machines of ``regression.task=logistic``."""
    return [LogisticRow(**row) for row in artifact.rows(MACHINES)]


def read_heads(artifact: Artifact) -> list[HeadRow]:
    """Read the heads of ``regression.task=head``."""
    return [HeadRow(**row) for row in artifact.rows(HEADS)]


def read_last(artifact: Artifact) -> dict[str, np.ndarray]:
    """Read points, target, predictions by machine and Grams (``gram_ck``, ``gram_ntk``) of the last snapshot."""
    return artifact.arrays(LAST)
