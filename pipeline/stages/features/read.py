"""What other stages read of the features: pooled layer outputs, ids, labels and logits by split."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from pipeline.engine.artifacts import Artifact

FEATURES = "features.safetensors"
NOISY = "_noisy"
"""Ending of the name of a split whose inputs carry ``features.noise``."""


def read_feature_tensors(features: Artifact) -> dict[str, Tensor]:
    """Read ``SPLIT.LAYER``, ``SPLIT.ids``, ``SPLIT.labels`` and ``SPLIT.logits`` as torch tensors."""
    return features.tensors(FEATURES)


def read_feature_arrays(features: Artifact) -> dict[str, np.ndarray]:
    """Read the same as :func:`feature_tensors` as numpy arrays."""
    return features.arrays(FEATURES)
