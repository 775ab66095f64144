"""Resume checkpoints every epoch, and random states that do not depend on what happened before."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO

from pipeline.data.batch_order import dropout_seed
from pipeline.machine.progress import say
from pipeline.machine.sealed_files import is_sound, replace_sealed, unseal


class ResumeCheckpoint(Checkpoint):
    """Keep the state after the last finished epoch in ``folder/last.ckpt``, replaced in one step.

    A run killed in mid-epoch goes back to the epoch's start; together with :class:`ReseedEachStep` and
    :class:`pipeline.data.batch_order.BatchOrder` it ends in the same bytes as an undisturbed one.

    Parameters
    ----------
    folder : Path
        Inside the artifact's scratch folder: the file is a pickle and must not outlive the run.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "last.ckpt"
        folder.mkdir(parents=True, exist_ok=True)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save, flush to disk and replace the previous checkpoint."""
        written = self.path.with_suffix(".writing")
        trainer.save_checkpoint(written)
        if trainer.is_global_zero:
            replace_sealed(written, self.path)
        trainer.strategy.barrier("resume checkpoint")


class CheckpointFile(TorchCheckpointIO):
    """Write checkpoints where they belong: Lightning's own way goes through the system's folder for temporary files."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write one checkpoint; :class:`ResumeCheckpoint` puts it in place."""
        torch.save(checkpoint, path)


def drop_if_damaged(checkpoint: Path) -> None:
    """Delete a checkpoint whose bytes are not those that were written, and say so: the run starts over."""
    if os.path.lexists(checkpoint) and not is_sound(checkpoint):
        say(f"  the checkpoint {checkpoint} is damaged: it is dropped, and training starts over")
        unseal(checkpoint)


class ReseedEachStep(pl.Callback):
    """Seed torch's generators from (seed, step, rank) before every training batch.

    Dropout then depends on the step alone: Lightning restores weights and optimizers but no random state.

    Parameters
    ----------
    seed : int
        Seed of the dropout stream.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, index: int) -> None:
        """Reseed the CPU generator, and the GPU's where there is one."""
        word = dropout_seed(self.seed, trainer.global_step, trainer.global_rank)
        torch.default_generator.manual_seed(word)
        if pl_module.device.type == "cuda":
            torch.cuda.manual_seed(word)
