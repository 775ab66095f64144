"""What other stages read of a trained network: its outputs."""

from __future__ import annotations

import numpy as np

from analysis.surrogates.faithfulness import binary_log_scores
from pipeline.config.run import RunConfig
from pipeline.engine.artifacts import Artifact
from pipeline.errors import UserError
from pipeline.training.networks import LOGITS


def network_outputs(config: RunConfig, weights: Artifact) -> dict[str, np.ndarray]:
    """Read the stored outputs of the run's network on whole splits."""
    name = LOGITS if weights.has(LOGITS) else f"step-{config.weights.step:08d}/{LOGITS}"
    if not weights.has(name):
        raise UserError(
            f"The weights at step {config.weights.step} come without outputs; record them with "
            "snapshots.record=[weights,logits]."
        )
    return weights.arrays(name)


def outputs_at(outputs: dict[str, np.ndarray], split: str, ids: np.ndarray) -> np.ndarray:
    """Find the outputs of some ids of a split, as log-scores with one column per class."""
    if f"{split}.logits" not in outputs:
        known = sorted(name.removesuffix(".logits") for name in outputs if name.endswith(".logits"))
        raise UserError(f"The network's outputs hold no split {split!r}; they hold {', '.join(known)}.")
    stored = outputs[f"{split}.ids"]
    order = np.argsort(stored, kind="stable")
    place = np.searchsorted(stored, ids, sorter=order)
    found = order[np.minimum(place, len(order) - 1)]
    if not np.array_equal(stored[found], ids):
        raise UserError(f"The kernel's {split} points are not those of the network's outputs; rebuild the kernel.")
    logits = outputs[f"{split}.logits"][found].astype(np.float64)
    return binary_log_scores(logits[:, 0]) if logits.shape[1] == 1 else logits
