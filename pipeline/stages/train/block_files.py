"""Files of one member in a block's artifact: written by ``ensemble``, copied by ``train``."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from kernels.machine.tensor_files import save_tensors
from pipeline.data.batches import TrainingData
from pipeline.engine.build import Build
from pipeline.engine.seed_blocks import member_seed
from pipeline.stages.train.read import read_history_file
from pipeline.training.ensemble import Member
from pipeline.training.evaluation import scores, split_outputs
from pipeline.training.history import TrainingDiverged, write_history
from pipeline.training.networks import HISTORY, INITIAL, LOGITS, WEIGHTS, save_weights


def member_folder(seed: int) -> str:
    """Name of one member's folder in the block's artifact."""
    return f"seed-{seed:05d}"


def write_member(member: Member, data: TrainingData, folder: Path) -> dict[str, Any]:
    """Write the files of one-by-one training (:func:`pipeline.training.fit.train_classifier`); return the metrics."""
    folder.mkdir()
    module = member.module
    arrays = split_outputs(module, data, data.splits, memory_format=member.config.numerics.memory_format)
    save_tensors(arrays, folder / LOGITS)
    save_weights(module.model, folder / WEIGHTS)
    if module.initial is not None:
        save_weights(module.initial, folder / INITIAL)
    write_history(member.history, folder / HISTORY)
    return {
        **scores(module, arrays),
        "steps": member.history[-1]["step"],
        "epochs": member.config.training.epochs,
        "parameters": sum(parameter.numel() for parameter in module.model.parameters()),
    }


def take_member(build: Build) -> dict[str, Any]:
    """Copy one seed's files from its block into a ``train`` artifact.

    Raises
    ------
    TrainingDiverged
        If this seed's loss became infinite or NaN; the other seeds of the block are unaffected.
    """
    block, seed = build.inputs["ensemble"], member_seed(build.config)
    if (message := block.metrics["diverged"].get(str(seed))) is not None:
        raise TrainingDiverged(message)
    folder = member_folder(seed)
    for name in (WEIGHTS, LOGITS, HISTORY, INITIAL):
        if block.has(f"{folder}/{name}"):
            shutil.copyfile(block.path(f"{folder}/{name}"), build.folder / name)
    for row in read_history_file(build.folder / HISTORY):
        build.tracker.log({f"train/{name}": value for name, value in row.items()}, step=int(row["step"]))
    return block.metrics["members"][str(seed)]
