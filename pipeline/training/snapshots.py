"""Snapshots of a run on a schedule, taken from a copy of the network so that the run does not notice.

What needs the network (outputs, the probe kernel) is computed at the step itself; spectra, which need only its weights,
and all writing are done by one worker thread while training continues.
"""

from __future__ import annotations

import copy
import json
import os
import shutil
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from analysis.spectra.matrix_views import weight_matrices
from analysis.spectra.weights import weight_spectrum
from kernels.inputs.samples import NotFiniteError
from kernels.machine.tensor_files import save_tensors
from models.classifier_module import ClassifierModule
from models.fields import problems
from models.logits import Batch, model_inputs
from pipeline.checks.training import unfit_kernel
from pipeline.config.run import SnapshotsConfig
from pipeline.data.batches import TrainingData, cast
from pipeline.errors import UserError
from pipeline.machine.deletion import remove
from pipeline.machine.progress import say
from pipeline.machine.ranks import barrier, broadcast_object, is_main_process, share_buffers
from pipeline.machine.sealed_files import is_sound_folder, seal_folder
from pipeline.training.curvature_record import curvature_arrays, curvature_plan
from pipeline.training.evaluation import split_outputs
from pipeline.training.networks import cpu_weights
from pipeline.training.snapshot_schedule import (
    MOMENT,
    PROBE,
    STEPS,
    SnapshotMoment,
    record_file,
    snapshot_steps,
    step_folder,
)

QUEUED = 2
"""Snapshots that may wait for the worker, each with a copy of the weights; the next one waits for room.

None is skipped: what a finished artifact holds must not depend on how fast the machine was.
"""

Files = dict[str, dict[str, Tensor]]


def probe_rows(n: int, count: int) -> Tensor:
    """Rows of the fixed probe batch: ``count`` training rows at even distances over the stored order."""
    count = min(count, n)
    return torch.arange(count) * n // count


@contextmanager
def undisturbed() -> Iterator[None]:
    """Put all of torch's random states back afterwards."""
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        yield


class SnapshotWriter(pl.Callback):
    """Record snapshots while a network trains.

    Each step has one folder, ``step-NNNNNNNN/``, with ``step.json`` (step, epoch, learning rate) and, as asked
    for: ``weights.safetensors``; ``logits.safetensors`` (every split but the training rows, see
    :func:`pipeline.training.evaluation.split_outputs`); ``spectra.safetensors`` (singular values of every weight
    matrix, float64, descending); ``kernel.safetensors`` (the unnormalized kernel of the probe batch, n x n, under
    ``kernel``); ``curvature.safetensors`` (Hessian and Gauss-Newton matrix of the loss on that batch, see
    :func:`pipeline.training.curvature_record.curvature_arrays`). ``probe.safetensors`` holds the probe's ids and
    labels. Spectra, kernels and curvature of weights that are not finite are NaN throughout: the trainer, not this
    callback, handles non-finite weights. Writing is idempotent by step: a resumed run finds what is there and would
    write the same bytes. Every epoch ends with all of its snapshots on disk, before its row of the history and its
    checkpoint. The learning rate of a step is the one that its next update uses; after the last step, the last one
    used.

    Parameters
    ----------
    folder : Path
        Where to write; a folder that survives a kill.
    config : SnapshotsConfig
        What and when.
    data : TrainingData
        For logits and the probe batch.
    memory_format : str
        Of images.
    on_snapshot : callable, optional
        Called with (step, arrays by record) once each snapshot is on disk, in order and from the training thread:
        such as a tracker's histograms. Once for each step, also after a kill: the file ``FOLDER.told`` lists the
        steps that were announced.

    Raises
    ------
    UserError
        If ``config`` holds what its fields do not take.
    """

    def __init__(
        self,
        folder: Path,
        config: SnapshotsConfig,
        data: TrainingData,
        memory_format: str = "contiguous",
        on_snapshot: Callable[[int, Files], None] | None = None,
    ) -> None:
        for problem in problems("snapshots", config):
            raise UserError(problem)
        if (unfit := unfit_kernel(config.options)) is not None:
            raise UserError(unfit)
        self.folder = folder
        self._account = folder.with_name(f"{folder.name}.told")
        self._seals = folder.with_name(f"{folder.name}.digests")
        self._probe_written = False
        self.config = config
        self.data = data
        self.memory_format = memory_format
        self.steps: list[int] = []
        self._on_snapshot = on_snapshot
        self._rate = 0.0
        self._worker = ThreadPoolExecutor(1, "snapshots")
        self._waiting: deque[tuple[int, Future[Files]]] = deque()

    def plan(self, total_steps: int, steps_per_epoch: int) -> None:
        """Fix the schedule; :func:`pipeline.training.fit.train_classifier` calls it before training starts."""
        self.steps = snapshot_steps(
            self.config.schedule,
            total_steps=total_steps,
            steps_per_epoch=steps_per_epoch,
            steps=self.config.steps,
            per_decade=self.config.per_decade,
        )
        self._total, self._per_epoch, self._epochs = total_steps, steps_per_epoch, total_steps // steps_per_epoch
        self.folder.mkdir(parents=True, exist_ok=True)
        if is_main_process():
            self._drop_damaged()
        barrier()

    def _seal(self, step: int) -> Path:
        return self._seals / f"{step_folder(step)}.json"

    def _drop_damaged(self) -> None:
        """Delete the snapshots of an earlier attempt whose bytes are not those that were written, and say so."""
        for step in self.steps:
            folder = self.folder / step_folder(step)
            if os.path.lexists(folder) and not is_sound_folder(folder, self._seal(step)):
                say(f"  the snapshot {folder} is damaged: it is dropped and taken again")
                remove(folder)

    def missing(self, until: int) -> list[int]:
        """List the steps up to ``until`` that are due but not on disk."""
        return [step for step in self.steps if step <= until and not (self.folder / step_folder(step)).exists()]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Record the untrained network."""
        if "curvature" in self.config.record and is_main_process() and (missing := self.missing(self._total)):
            rows, trained = min(self.config.probe, self.data.size("train")), self._epochs * self.data.size("train")
            network = pl_module.model if isinstance(pl_module, ClassifierModule) else pl_module
            say(f"  {curvature_plan(network, self.config.curvature, rows, len(missing), trained)}")
        if trainer.global_step == 0:
            self._record(trainer, pl_module, 0)

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, index: int) -> None:
        """Note the rate of the coming update."""
        self._rate = float(trainer.optimizers[0].param_groups[0]["lr"])

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        """Record where a snapshot is due."""
        self._record(trainer, pl_module, trainer.global_step)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Wait until all snapshots so far are written: the checkpoint that follows must not be ahead of them."""
        self._finish(0)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Let the worker finish writing; the caller gets the exception of the training."""
        wait([written for _, written in self._waiting])
        for step, written in self._waiting:
            if written.exception() is None:
                self._announce(step, written.result())
        self._waiting.clear()

    def publish(self, folder: Path) -> None:
        """Move all snapshots into a finished artifact's folder and list them in ``steps.json``, as main process."""
        if not is_main_process():
            return
        rows = []
        for entry in sorted(self.folder.iterdir()):
            if entry.is_dir():
                rows.append(json.loads((entry / MOMENT).read_text(encoding="utf-8")))
            shutil.move(entry, folder / entry.name)
        _write_json(folder / STEPS, rows)

    def _record(self, trainer: pl.Trainer, module: pl.LightningModule, step: int) -> None:
        final = self.folder / step_folder(step)
        if step not in self.steps:
            return
        if broadcast_object(final.exists()):
            if is_main_process() and self._on_snapshot is not None and step not in self._announced():
                self._announce(step, {file.stem: load_file(file) for file in sorted(final.glob("*.safetensors"))})
            return
        if not isinstance(module, ClassifierModule):
            raise TypeError(f"snapshots need a ClassifierModule, got {type(module).__name__}")
        rate = self._rate if step == self._total else float(trainer.optimizers[0].param_groups[0]["lr"])
        entry: SnapshotMoment = {"step": step, "epoch": step / self._per_epoch, "lr": rate}
        with undisturbed():
            network = copy.deepcopy(module.model).eval()
            share_buffers(network)  # ranks share the rows of the probe kernel, but each has its own batch statistics
            files = self._measure(module, network)
        if not is_main_process():
            return
        matrices = {label: matrix.cpu() for label, matrix in sorted(weight_matrices(network).items())}
        if "spectra" not in self.config.record:
            matrices = {}
        self._finish(QUEUED - 1)
        self._waiting.append((step, self._worker.submit(_write, final, self._seal(step), entry, files, matrices)))

    def _finish(self, left: int) -> None:
        """Wait until at most ``left`` snapshots are unfinished, and announce the finished ones."""
        while len(self._waiting) > left or (self._waiting and self._waiting[0][1].done()):
            step, written = self._waiting.popleft()
            self._announce(step, written.result())

    def _announce(self, step: int, files: Files) -> None:
        if self._on_snapshot is None:
            return
        self._on_snapshot(step, files)
        with self._account.open("a", encoding="utf-8") as stream:
            stream.write(f"{step}\n")

    def _announced(self) -> set[int]:
        words = self._account.read_bytes().split() if self._account.exists() else []
        return {int(word) for word in words if word.isdigit()}  # a line that a kill has cut is announced again

    def _measure(self, module: ClassifierModule, network: nn.Module) -> Files:
        """Everything that needs the network or its device."""
        files: Files = {}
        if "weights" in self.config.record:
            files["weights"] = cpu_weights(network)
        if "logits" in self.config.record:
            splits = [name for name in self.data.splits if name != "train"]
            files["logits"] = split_outputs(
                module, self.data, splits, network=network, memory_format=self.memory_format
            )
        if {"kernel", "curvature"} & set(self.config.record):
            batch = self._probe()
        if "kernel" in self.config.record:
            files["kernel"] = {"kernel": probe_kernel(network, batch, self.config, self.memory_format)}
        if "curvature" in self.config.record and is_main_process():
            files["curvature"] = curvature_arrays(module, network, batch, self.config.curvature, self.memory_format)
        return files

    def _probe(self) -> Batch:
        """Give the probe batch, whose ids and labels are written once."""
        batch = probe_batch(self.data, self.config.probe)
        path = self.folder / PROBE
        if is_main_process() and not self._probe_written:  # also over what an earlier attempt left
            kept: dict[str, Tensor] = {name: batch[name] for name in ("id", "label", "y") if name in batch}
            written = path.with_suffix(".writing")
            save_tensors(kept, written)
            os.replace(written, path)
            self._probe_written = True
        return batch


def probe_batch(data: TrainingData, size: int) -> Batch:
    """Take the fixed training rows whose kernel is recorded along training."""
    return data.batch("train", probe_rows(data.size("train"), size))


def probe_kernel(network: nn.Module, batch: Batch, config: SnapshotsConfig, memory_format: str) -> Tensor:
    """Compute a network's kernel of the probe batch, unnormalized; NaN where its weights or outputs are not finite."""
    from kernels import kernel_matrix

    dtype = next(network.parameters()).dtype
    undefined = torch.full((len(batch["id"]), len(batch["id"])), torch.nan, dtype=dtype)
    if not all(bool(parameter.isfinite().all()) for parameter in network.parameters()):
        return undefined
    try:
        result = kernel_matrix(
            network,
            model_inputs(cast(batch, dtype, memory_format)),
            labels=batch.get("label"),
            **{
                "kind": config.kernel,
                "normalize": False,
                "precision": "float64" if dtype == torch.float64 else "float32",
                **config.options,
            },
        )
    except NotFiniteError:  # finite weights can be so large that outputs overflow
        return undefined
    return result.matrix.cpu()


def measured_spectra(network: nn.Module) -> dict[str, Tensor]:
    """Singular values of every weight matrix, NaN where one is not finite."""
    found = {label: matrix.cpu() for label, matrix in sorted(weight_matrices(network).items())}
    return {label: torch.from_numpy(_spectrum(matrix)) for label, matrix in found.items()}


def _write(final: Path, seal: Path, entry: SnapshotMoment, files: Files, matrices: dict[str, Tensor]) -> Files:
    """Add the spectra, and write one snapshot so that its folder appears when it is complete."""
    if matrices:
        files["spectra"] = {label: torch.from_numpy(_spectrum(matrix)) for label, matrix in matrices.items()}
    written = final.with_name(f"{final.name}.writing")
    remove(written)
    written.mkdir()
    for name, tensors in files.items():
        save_tensors(tensors, written / record_file(name))
    _write_json(written / MOMENT, entry)
    seal_folder(written, final, seal)
    return files


def _spectrum(matrix: Tensor) -> np.ndarray:
    if bool(matrix.isfinite().all()):
        return weight_spectrum(matrix)
    return np.full(min(matrix.shape), np.nan)


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
