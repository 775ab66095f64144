"""What stage ``spectra`` wrote, by file: matrices at every step and at the end, singular values, the probe kernel."""

from __future__ import annotations

from typing import TypedDict

import numpy as np

from pipeline.engine.artifacts import Artifact

HISTORY = "spectra.parquet"
LAYERS = "layers.parquet"
SPECTRA = "spectra.safetensors"
KERNEL = "kernel.parquet"

LayerRow = TypedDict(
    "LayerRow",
    {
        "matrix": str,
        "status": str,
        "note": str,
        "rows": int,
        "columns": int,
        "outliers": int,
        "largest": float,
        "ks_law": float,
        "ks_start": float,
        "wasserstein_start": float,
        "stable_rank": float,
        "change_frobenius": float,
        "change_operator": float,
        "margin": float,
        "class": str,
        "evidence": str,
        "alpha": float,
        "fitted_alpha": float,
        "p_distance": float,
        "p_alpha": float,
        "hill": float,
        "tail": str,
        "weightwatcher_alpha": float,
    },
)
"""Class and tail of one trained matrix; the numbers up to ``margin`` are explained at ``SpectrumRow``."""


class KernelRow(TypedDict):
    """The probe kernel at one step: alignment with the labels, movement from its start, and its spectrum."""

    step: int
    kta: float
    movement: float
    distance: float
    ks_start: float
    largest: float


def read_layers(artifact: Artifact) -> list[LayerRow]:
    """Read the class and tail of every trained matrix."""
    return artifact.rows(LAYERS)


def read_spectrum(artifact: Artifact, matrix: str) -> tuple[np.ndarray, np.ndarray] | None:
    """Read a matrix's singular values before and after training; None where the trained weight is not finite."""
    arrays = artifact.arrays(SPECTRA)
    start, end = arrays.get(f"{matrix}/start"), arrays.get(f"{matrix}/end")
    return None if start is None or end is None else (start, end)


def read_kernel(artifact: Artifact) -> list[KernelRow]:
    """Read the probe kernel at every step; empty where it was not recorded."""
    return artifact.rows(KERNEL, optional=True)
