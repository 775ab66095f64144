"""What other stages read of derivatives: probabilities of the true class, and their slopes by row weights."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from pipeline.engine.artifacts import Artifact

DERIVATIVES = "derivatives.safetensors"


def read_derivatives(derivatives: Artifact) -> tuple[Float[np.ndarray, " m"], Float[np.ndarray, "m n"]]:
    """Read the true class's probability at each test row, and its derivative by the weight of each training row."""
    arrays = derivatives.arrays(DERIVATIVES)
    return arrays["values"], arrays["slopes"]
