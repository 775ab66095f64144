"""Resume checkpoints every epoch, and random states that do not depend on what happened before."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint

from pipeline.data.batch_order import dropout_seed


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
            with written.open("rb") as stream:
                os.fsync(stream.fileno())
            written.replace(self.path)
        trainer.strategy.barrier("resume checkpoint")


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
