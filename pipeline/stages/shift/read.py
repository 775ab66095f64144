"""What stage ``shift`` wrote, by file: tests, calibration, power, probes, cues and the first draw."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

import numpy as np

from analysis.shift.power import RejectionRate
from analysis.shift.probes import ProbeScore
from pipeline.engine.artifacts import Artifact

TESTS = "tests.parquet"
CALIBRATION = "calibration.parquet"
POWER = "power.parquet"
PROBES = "probes.parquet"
CUE_RATES = "cues.parquet"
FIRST_DRAW = "scores.safetensors"

OutcomeRow = TypedDict(
    "OutcomeRow",
    {
        "pair": str,
        "redraw": int,
        "representation": str,
        "class": str,
        "test": str,
        "statistic": float,
        "p": float,
        "smallest_p": float,
        "holm_p": float,
        "n": int,
        "auc": float,
        "auc_low": float,
        "auc_high": float,
        "notes": str,
    },
)
"""One test of one pair in one draw; ``class`` is empty unless the test is within a class."""


class CalibrationRow(TypedDict):
    """P-value of one test on one pair of draws from the reference, with the test's binomial band."""

    test: str
    size: int
    draw: int
    p: float
    low: int
    high: int


@dataclass(frozen=True)
class FirstDraw:
    """The first draw of both sides, for figures.

    Attributes
    ----------
    reference, sample : ndarray, shape (n, c)
        Pooled principal components.
    explained_variance : ndarray, shape (c,)
    reference_labels, sample_labels : ndarray of int, shape (n,)
    map : ndarray of float32, shape (2n, 2)
        t-SNE map of the reference's rows, then the sample's.
    """

    reference: np.ndarray
    sample: np.ndarray
    explained_variance: np.ndarray
    reference_labels: np.ndarray
    sample_labels: np.ndarray
    map: np.ndarray


def read_tests(artifact: Artifact) -> list[OutcomeRow]:
    """Read every test of every draw."""
    return artifact.rows(TESTS)


def read_calibration(artifact: Artifact) -> list[CalibrationRow]:
    """Read the p-values of the null draws."""
    return artifact.rows(CALIBRATION)


def read_power(artifact: Artifact) -> list[RejectionRate]:
    """Read the power by rows a side; empty where no size of ``shift.power_sizes`` fits."""
    return [RejectionRate(**row) for row in artifact.rows(POWER, optional=True)]


def read_probes(artifact: Artifact) -> list[ProbeScore]:
    """Read the scores of probes and rivals; empty where the rows carry no labels."""
    return [ProbeScore(**row) for row in artifact.rows(PROBES, optional=True)]


def read_cues(artifact: Artifact) -> dict[str, dict[str, float]]:
    """Read the rates, or means, of the surface cues of ``reference`` and ``sample``."""
    return {row["source"]: {cue: row[cue] for cue in row if cue != "source"} for row in artifact.rows(CUE_RATES)}


def read_first_draw(artifact: Artifact) -> FirstDraw:
    """Read the components, labels and map of the first draw."""
    return FirstDraw(**artifact.arrays(FIRST_DRAW))
