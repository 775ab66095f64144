"""One row of losses and scores per epoch, kept in the checkpoint so that a resumed run keeps its rows."""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from models.classifier_module import ClassifierModule
from pipeline.errors import UserError

EpochRow = dict[str, float | int]
_NOTE_SECONDS = 2.0


class TrainingDiverged(UserError):
    """The training loss is no longer finite."""


class History(pl.Callback):
    """Collect epoch, step, learning rate, losses and scores; no timings, so equal runs give equal bytes.

    Parameters
    ----------
    on_epoch : callable, optional
        Called with each finished row, such as a tracker.

    Attributes
    ----------
    rows : list of dict
        ``epoch`` counts from 1; ``step`` is the number of optimizer steps taken; ``lr`` is the rate of the
        epoch's last step; then ``train_loss``, ``train_accuracy`` (or ``train_rmse``) and the same for ``val``.

    Raises
    ------
    TrainingDiverged
        After an epoch whose training loss is not finite.
    """

    def __init__(self, on_epoch: Callable[[EpochRow], None] | None = None) -> None:
        self.rows: list[EpochRow] = []
        self._on_epoch = on_epoch
        self._rate = math.nan

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, index: int) -> None:
        """Note the rate of the coming step."""
        self._rate = float(trainer.optimizers[0].param_groups[0]["lr"])

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Append the epoch's row."""
        row: EpochRow = {"epoch": trainer.current_epoch + 1, "step": trainer.global_step, "lr": self._rate}
        if not isinstance(pl_module, ClassifierModule):
            raise TypeError(f"History needs a ClassifierModule, got {type(pl_module).__name__}")
        row.update(sorted({**pl_module.epoch_scores("train"), **pl_module.epoch_scores("val")}.items()))
        if not math.isfinite(row["train_loss"]):
            raise TrainingDiverged(
                f"Training diverged: the loss of epoch {row['epoch']} is {row['train_loss']} at learning rate "
                f"{self._rate:g}. Lower training.lr or set training.gradient_clip."
            )
        self.rows.append(row)
        if self._on_epoch is not None and trainer.is_global_zero:
            self._on_epoch(row)

    def state_dict(self) -> dict[str, Any]:
        """Rows so far, for the checkpoint."""
        return {"rows": [dict(row) for row in self.rows]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the rows of a checkpoint."""
        self.rows = [dict(row) for row in state_dict["rows"]]


class HistoryNote:
    """Keep the rows so far in a training's scratch, for whoever looks at it before it is finished (``stage=browse``).

    Parameters
    ----------
    path : Path
        In the scratch folder: deleted when the artifact is complete.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._noted = -_NOTE_SECONDS

    def note(self, rows: list[EpochRow], last: bool) -> None:
        """Replace the file in one step, at most every other second but for the last epoch."""
        now = time.monotonic()
        if not rows or (now - self._noted < _NOTE_SECONDS and not last):
            return
        self._noted = now
        written = self._path.with_suffix(".writing")
        write_history(rows, written)
        written.replace(self._path)


def write_history(rows: list[EpochRow], path: Path) -> None:
    """Write rows as CSV, floats in shortest exact form."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(rows[0]) if rows else ["epoch"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
