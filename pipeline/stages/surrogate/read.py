"""What other stages read of a surrogate: its coefficients."""

from __future__ import annotations

import numpy as np

from pipeline.engine.build import Build


def coefficients(build: Build) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Read the surrogate's weights (C, n) and offsets (C,); None for k-NN, which has none."""
    surrogate = build.inputs["surrogate"]
    if not surrogate.has("coefficients.safetensors"):
        return None, None
    arrays = surrogate.arrays("coefficients.safetensors")
    return arrays["weights"], arrays["offsets"]
