"""A stored kernel as an array that knows its samples."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64

from kernels import KernelResult
from pipeline.engine.artifacts import Artifact
from pipeline.errors import UserError
from pipeline.stages.kernel.read import read_gram


@dataclass(eq=False, repr=False)
class StudyKernel(KernelResult):
    """A kernel of a study: an array to torch, NumPy and scikit-learn, with the ids and labels of its samples.

    Attributes
    ----------
    row_ids, column_ids : ndarray of int64
        Sample ids of rows and columns; with the fingerprint of the data they name a sample for good.
    row_labels, column_labels : ndarray
        Their classes (or targets).
    """

    row_ids: Int64[np.ndarray, " m"] = field(default_factory=lambda: np.zeros(0, np.int64))
    column_ids: Int64[np.ndarray, " n"] = field(default_factory=lambda: np.zeros(0, np.int64))
    row_labels: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    column_labels: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))


def read_kernel(artifact: Artifact, split: str) -> StudyKernel:
    """Map a kernel of training points (a square) or of a test split (test x train) from its artifact.

    Raises
    ------
    UserError
        If the artifact holds no such split.
    """
    arrays = read_gram(artifact)
    if split not in arrays or f"{split}_ids" not in arrays:
        held = [name.removesuffix("_ids") for name in arrays if name.endswith("_ids")]
        raise UserError(f"The kernel in {artifact.folder} has no rows of split {split!r}; it has {', '.join(held)}.")

    def tensor(name: str) -> torch.Tensor | None:
        return torch.from_numpy(arrays[name]) if name in arrays else None

    prefix = f"{split}_part."
    parts = {name.removeprefix(prefix): torch.from_numpy(arrays[name]) for name in arrays if name.startswith(prefix)}
    rows, columns = tensor(f"{split}_diagonal"), tensor("train_diagonal")
    about: dict[str, Any] = {
        name: artifact.metrics[name] for name in ("kind", "certificate") if name in artifact.metrics
    }
    if "kernel.normalize" in artifact.settings:
        about["normalize"] = artifact.settings["kernel.normalize"]
    return StudyKernel(
        torch.from_numpy(arrays[split]),
        rows,
        columns,
        parts,
        {**about, "file": str(artifact.folder)},
        np.array(arrays[f"{split}_ids"]),
        np.array(arrays["train_ids"]),
        np.array(arrays[f"{split}_labels"]),
        np.array(arrays["train_labels"]),
    )
