"""What other stages read of trained networks: outputs, weights, learning curves and snapshots."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
from torch import Tensor, nn

from pipeline.config.run import RunConfig
from pipeline.engine.artifacts import Artifact
from pipeline.errors import UserError
from pipeline.training.networks import HISTORY, LOGITS, WEIGHTS, load_weights
from pipeline.training.snapshot_schedule import PROBE, STEPS, SnapshotMoment, record_file, step_folder


def has_outputs(weights: Artifact) -> bool:
    """Whether a network comes with outputs: one before any training does not."""
    return weights.stage != "initial"


def read_network_outputs(config: RunConfig, weights: Artifact) -> dict[str, np.ndarray]:
    """Read the stored outputs of the run's network on whole splits."""
    step = config.weights.step
    name = LOGITS if step is None or weights.has(LOGITS) else f"{step_folder(step)}/{LOGITS}"
    if not weights.has(name):
        raise UserError(
            f"The weights at step {step} come without outputs; record them with snapshots.record=[weights,logits]."
        )
    return weights.arrays(name)


def read_final_outputs(trained: Artifact) -> dict[str, np.ndarray]:
    """Read the outputs after training: ``SPLIT.logits``, ``SPLIT.ids`` and ``SPLIT.labels`` or ``SPLIT.targets``."""
    return trained.arrays(LOGITS)


def outputs_at(outputs: dict[str, np.ndarray], split: str, ids: np.ndarray) -> np.ndarray:
    """Find the outputs of some ids of a split, as log-scores with one column per class."""
    # Imported here: the package of surrogates loads scikit-learn, which no training needs.
    from analysis.surrogates.faithfulness import binary_log_scores

    if f"{split}.logits" not in outputs:
        known = sorted(name.removesuffix(".logits") for name in outputs if name.endswith(".logits"))
        raise UserError(f"The network's outputs hold no split {split!r}; they hold {', '.join(known)}.")
    stored = outputs[f"{split}.ids"]
    order = np.argsort(stored, kind="stable")
    place = np.searchsorted(stored, ids, sorter=order)
    found = order[np.minimum(place, len(order) - 1)]
    if not np.array_equal(stored[found], ids):
        raise UserError(
            f"The kernel's {split} points are not those of the network's outputs; add rebuild=[kernel] to the command."
        )
    logits = outputs[f"{split}.logits"][found].astype(np.float64)
    return binary_log_scores(logits[:, 0]) if logits.shape[1] == 1 else logits


def read_final_weights(trained: Artifact) -> dict[str, Tensor] | None:
    """Read the weights after training; None for an artifact that holds snapshots only."""
    return trained.tensors(WEIGHTS) if trained.has(WEIGHTS) else None


def read_learning_curve(trained: Artifact) -> list[dict[str, float]]:
    """Read one row of losses and scores per epoch; a score that an epoch lacks is left out of its row."""
    return read_history_file(trained.path(HISTORY))


def has_learning_curve(trained: Artifact) -> bool:
    """Whether a run was trained here, so that its losses over epochs are known."""
    return trained.has(HISTORY)


def read_history_file(path: Path) -> list[dict[str, float]]:
    """Read a file of losses and scores per epoch."""
    with path.open(encoding="utf-8") as stream:
        return [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(stream)]


def read_recorded_steps(snapshots: Artifact) -> list[SnapshotMoment]:
    """Step, epoch and learning rate of each snapshot, in order."""
    return json.loads(snapshots.text(STEPS))


def read_snapshot_arrays(snapshots: Artifact, step: int, record: str) -> dict[str, np.ndarray]:
    """Read one record (logits, spectra, kernel) of the snapshot at a step."""
    return snapshots.arrays(f"{step_folder(step)}/{record_file(record)}")


def read_snapshot_weights(snapshots: Artifact, step: int) -> dict[str, Tensor]:
    """Read the weights of the snapshot at a step."""
    return snapshots.tensors(f"{step_folder(step)}/{WEIGHTS}")


def has_weights(snapshots: Artifact, step: int) -> bool:
    """Whether the snapshot at a step holds weights."""
    return snapshots.has(f"{step_folder(step)}/{WEIGHTS}")


def load_snapshot(network: nn.Module, snapshots: Artifact, step: int) -> nn.Module:
    """Load the weights of the snapshot at a step into a network, in place; the network is put in evaluation mode."""
    return load_weights(network, snapshots.path(f"{step_folder(step)}/{WEIGHTS}")).eval()


def read_probe_batch(snapshots: Artifact) -> dict[str, np.ndarray]:
    """Read the ids (``id``) and labels (``label`` or ``y``) of the fixed probe batch."""
    return snapshots.arrays(PROBE)
