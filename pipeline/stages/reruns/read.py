"""What other stages read of reruns: the parts that were left out, and what the test rows were answered then."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from pipeline.engine.artifacts import Artifact

RERUNS = "reruns.safetensors"


def left_out(share: float) -> str:
    """Name the parts of one share among the arrays."""
    return f"left_out.{share:g}"


def log_odds_name(share: float) -> str:
    """Name the log-odds of one share among the arrays."""
    return f"log_odds.{share:g}"


def read_reruns(
    reruns: Artifact, share: float
) -> tuple[Bool[np.ndarray, "s n"], Float[np.ndarray, "s m"], Float[np.ndarray, " m"]]:
    """Read the parts that were left out, the log-odds of the true class without each of them, and with all rows."""
    arrays = reruns.arrays(RERUNS)
    return arrays[left_out(share)].astype(bool), arrays[log_odds_name(share)], arrays["log_odds"]
