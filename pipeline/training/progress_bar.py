"""Progress reporting of training: a live bar on a terminal, one line per epoch in a log."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from pipeline.machine.progress import note_progress, say
from pipeline.training.history import EpochRow, History, HistoryNote
from pipeline.training.networks import HISTORY

_PLAIN_SECONDS = 1.0
_NOTE_SECONDS = 2.0


def describe_epoch(row: EpochRow, epochs: int) -> str:
    """Sum up one row of the history in one line."""
    parts = [f"{name} {value:.4f}" for name, value in row.items() if name.startswith(("train_", "val_"))]
    return f"epoch {row['epoch']}/{epochs}: {', '.join(parts)}"


class TrainingProgress(pl.Callback):
    """Show steps and the last epoch's numbers.

    Off a terminal a line follows every epoch, but not more than one a second: a thousand epochs of
    milliseconds should not fill a log. The last epoch always gets its line.

    Parameters
    ----------
    label : str
        What is being trained.
    history : History
        Its last row is read after each epoch, so it must come first among the callbacks.
    """

    def __init__(self, label: str, history: History) -> None:
        self._label = label
        self._history = history
        self._bar: Progress | None = None
        self._said = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Open the bar where there is a terminal."""
        if sys.stderr.isatty() and trainer.is_global_zero:
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
            self._task = self._bar.add_task(
                self._label, total=trainer.estimated_stepping_batches, completed=trainer.global_step
            )
            self._bar.start()

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Move the bar."""
        if self._bar is not None:
            self._bar.update(self._task, completed=trainer.global_step)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Show the epoch's numbers."""
        line = f"{self._label} {describe_epoch(self._history.rows[-1], trainer.max_epochs or 0)}"
        now, last = time.monotonic(), trainer.current_epoch + 1 == trainer.max_epochs
        if self._bar is not None:
            self._bar.update(self._task, description=line)
        elif trainer.is_global_zero and (last or now - self._said >= _PLAIN_SECONDS):
            say(f"  {line}")
            self._said = now

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Close the bar, also after an error."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


class ProgressNote(pl.Callback):
    """Keep a note in scratch on how far training is, and its losses so far: others read them while it goes on.

    Parameters
    ----------
    scratch : Path
        Of the artifact under construction.
    history : History
        Its rows are complete after each epoch, so it must come first among the callbacks.
    """

    def __init__(self, scratch: Path, history: History) -> None:
        self._scratch, self._history = scratch, history
        self._rows = HistoryNote(scratch / HISTORY)
        self._noted = -_NOTE_SECONDS

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Renew the losses so far."""
        if trainer.is_global_zero:
            self._rows.note(self._history.rows, trainer.current_epoch + 1 == trainer.max_epochs)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock; a resumed run has steps that took it no time."""
        self._started, self._first = time.monotonic(), trainer.global_step
        self._note(trainer)

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Renew the note every few seconds."""
        if time.monotonic() - self._noted >= _NOTE_SECONDS:
            self._note(trainer)

    def _note(self, trainer: pl.Trainer) -> None:
        if not trainer.is_global_zero:
            return
        self._noted = time.monotonic()
        step, steps, epochs = trainer.global_step, int(trainer.estimated_stepping_batches), trainer.max_epochs or 0
        pace = (self._noted - self._started) / (step - self._first) if step > self._first else None
        left = None if pace is None else pace * (steps - step)
        note_progress(self._scratch, step, steps, f"epoch {min(trainer.current_epoch + 1, epochs)}/{epochs}", left)
