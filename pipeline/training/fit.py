"""Train one network: the same configuration gives the same bytes, also after a kill and a resume."""

from __future__ import annotations

import logging
import shutil
import signal
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.environments import LightningEnvironment, TorchElasticEnvironment
from torch import Tensor, nn

from kernels.machine.tensor_files import save_tensors
from models.adversarial_training import BatchAttack
from models.classifier_module import ClassifierModule
from models.gradient_attack import PixelBall
from pipeline.config.run import RunConfig
from pipeline.data.batch_order import BatchOrder
from pipeline.data.batches import EvaluationBatches, TrainingBatches, TrainingData
from pipeline.data.datamodule import DataModule
from pipeline.errors import UserError
from pipeline.machine.arithmetic import arithmetic, network_dtype
from pipeline.machine.progress import say
from pipeline.machine.ranks import barrier, broadcast_object, is_distributed, is_main_process
from pipeline.machine.sealed_files import unseal
from pipeline.training.evaluation import scores, split_outputs
from pipeline.training.history import EpochRow, History, write_history
from pipeline.training.initial_outputs import initial_outputs
from pipeline.training.networks import HISTORY, INITIAL, LOGITS, WEIGHTS, save_weights
from pipeline.training.progress_bar import ProgressNote, TrainingProgress
from pipeline.training.resume import CheckpointFile, ReseedEachStep, ResumeCheckpoint, drop_if_damaged
from pipeline.training.single_rows import refuse_single_rows
from pipeline.training.snapshots import SnapshotWriter


@dataclass(frozen=True)
class TrainingOutcome:
    """What a training left behind.

    Attributes
    ----------
    metrics : dict
        ``SPLIT_accuracy`` (or ``SPLIT_rmse``), ``SPLIT_loss``, ``SPLIT_n`` for every split, ``steps``,
        ``epochs``, ``parameters``.
    history : list of dict
        One row per epoch.
    weights_sha256 : str
        Of ``weights.safetensors``: equal runs have equal ones.
    resumed_from : int
        Epochs that a checkpoint already held; not covered by the reproducibility guarantee.
    """

    metrics: dict[str, Any]
    history: list[EpochRow] = field(repr=False)
    weights_sha256: str
    resumed_from: int


def make_module(model: nn.Module, data: TrainingData, config: RunConfig, steps_per_epoch: int) -> ClassifierModule:
    """Wrap a network with the configured loss, optimizer and schedule.

    Raises
    ------
    UserError
        If a name is unknown or a value impossible.
    """
    training = config.training
    try:
        return ClassifierModule(
            model,
            n_classes=data.n_targets,
            total_steps=training.epochs * steps_per_epoch,
            loss=training.loss,
            label_smoothing=training.label_smoothing,
            optimizer=training.optimizer,
            lr=training.lr,
            momentum=training.momentum,
            weight_decay=training.weight_decay,
            schedule=training.schedule,
            warmup=training.warmup,
            milestones=training.milestones,
            gamma=training.gamma,
            center_output=config.model.center_output,
            attack=_attack(config, data),
        )
    except ValueError as error:
        raise UserError(f"Cannot train: {error}.") from error


def _attack(config: RunConfig, data: TrainingData) -> BatchAttack | None:
    chosen = config.training.attack
    if chosen.radius == 0:
        return None
    image = data.config.image if isinstance(data, DataModule) else config.data.image
    ball = PixelBall.of(chosen.radius, data.input_shape[0], image.mean, image.std)
    return BatchAttack(ball, chosen.steps, chosen.seed)


def train_classifier(
    model: nn.Module,
    data: TrainingData,
    config: RunConfig,
    work: Path,
    *,
    scratch: Path,
    snapshots: SnapshotWriter | None = None,
    on_epoch: Callable[[EpochRow], None] | None = None,
    progress: bool = True,
    label: str = "train",
) -> TrainingOutcome:
    """Train a network and write its weights, outputs and history.

    Parameters
    ----------
    model : nn.Module
        Freshly built by :func:`pipeline.training.networks.build_network`; trained in place.
    data : TrainingData
        Splits in memory.
    config : RunConfig
        Sections ``training``, ``seeds``, ``numerics``, ``hardware`` and ``model.center_output`` are read.
    work : Path
        Gets ``weights.safetensors``, ``logits.safetensors`` (see :func:`pipeline.training.evaluation.split_outputs`),
        ``history.csv`` and, with centered outputs, ``initial.safetensors``.
    scratch : Path
        Survives a kill; resume checkpoints are in ``scratch/checkpoints`` until training is done.
    snapshots : SnapshotWriter, optional
        Recorder; the weights are the same with and without.
    on_epoch : callable, optional
        Called with each row of the history, such as a tracker.
    progress : bool
        Show progress on the error stream.
    label : str
        How to call the run there.

    Returns
    -------
    TrainingOutcome

    Raises
    ------
    UserError
        On an impossible configuration, or when training diverges.
    """
    with arithmetic(config.numerics) as device, _quiet_lightning():
        seeds, numerics = config.streams, config.numerics
        order = BatchOrder(data.size("train"), config.training.batch_size, seeds.order, config.training.shuffle)
        dtype = network_dtype(numerics.precision)
        module = make_module(model, data, config, len(order))
        _check_padding(model, data)
        refuse_single_rows(model, data, config.training.batch_size, numerics.world_size)
        if module.initial is not None and is_main_process():
            save_weights(module.initial, work / INITIAL)
        initial = initial_outputs(module.to(device), data, dtype, numerics.memory_format)
        train = TrainingBatches(data, order, seeds.augment, dtype, numerics.memory_format, initial.get("train"))
        validation = _validation(data, dtype, config, initial.get("val"))

        checkpoint = ResumeCheckpoint(scratch / "checkpoints")
        if is_main_process():
            drop_if_damaged(checkpoint.path)
        barrier()
        history = History(on_epoch)
        callbacks: list[pl.Callback] = [
            ReseedEachStep(seeds.dropout),
            history,
            checkpoint,
            ProgressNote(scratch, history),
        ]
        if snapshots is not None:
            snapshots.plan(config.training.epochs * len(order), len(order))
            callbacks.insert(0, snapshots)  # an epoch's snapshots are finished before its row and its checkpoint
            _start_over_if_snapshots_are_lost(checkpoint.path, snapshots)
        if progress:
            callbacks.append(TrainingProgress(label, history))
        resumed_from = _fit(module, train, validation, config, callbacks, checkpoint.path, work)

        digest, metrics = "", {}
        if is_main_process():
            module.to(device)
            arrays = split_outputs(module, data, data.splits, memory_format=numerics.memory_format)
            save_tensors(arrays, work / LOGITS)
            digest = save_weights(module.model, work / WEIGHTS)
            write_history(history.rows, work / HISTORY)
            shutil.rmtree(checkpoint.path.parent)
            metrics = {
                **scores(module, arrays),
                "steps": config.training.epochs * len(order),
                "epochs": config.training.epochs,
                "parameters": sum(parameter.numel() for parameter in model.parameters()),
            }
        metrics, digest = broadcast_object((metrics, digest))
        return TrainingOutcome(metrics, history.rows, digest, resumed_from)


def replay(
    model: nn.Module,
    data: TrainingData,
    config: RunConfig,
    scratch: Path,
    snapshots: SnapshotWriter,
    expected_sha256: str,
    **options: Any,
) -> TrainingOutcome:
    """Train again to take snapshots, and refuse unless the stored weights come out.

    Parameters
    ----------
    model, data, config
        As in the training that is replayed.
    scratch : Path
        For everything but the snapshots.
    snapshots : SnapshotWriter
        Recorder.
    expected_sha256 : str
        Of the stored ``weights.safetensors``.
    **options
        Passed to :func:`train_classifier`.

    Raises
    ------
    UserError
        If the replay ends in other weights: then the snapshots belong to another run.
    """
    work = scratch / "replay"
    work.mkdir(parents=True, exist_ok=True)
    outcome = train_classifier(model, data, config, work, scratch=scratch, snapshots=snapshots, **options)
    if outcome.weights_sha256 != expected_sha256:
        raise UserError(
            f"Replaying the training for snapshots ended in other weights ({outcome.weights_sha256[:12]}) than the "
            f"stored ones ({expected_sha256[:12]}): this machine's arithmetic differs from the one that trained "
            "them. Take snapshots where the weights were trained, or train again here: rebuild=[train]."
        )
    if is_main_process():
        shutil.rmtree(work)
    return outcome


def _validation(
    data: TrainingData, dtype: torch.dtype, config: RunConfig, initial: Tensor | None
) -> EvaluationBatches | None:
    if "val" not in data.splits or data.size("val") == 0:
        return None
    return EvaluationBatches(data, "val", dtype, config.numerics.memory_format, initial)


def _fit(
    module: ClassifierModule,
    batches: TrainingBatches,
    validation: EvaluationBatches | None,
    config: RunConfig,
    callbacks: list[pl.Callback],
    checkpoint: Path,
    work: Path,
) -> int:
    """Run Lightning from the checkpoint if there is one; return the epochs that it held."""
    precision: Any = "32-true" if config.numerics.precision == "tf32" else config.numerics.precision
    trainer = pl.Trainer(
        accelerator="gpu" if config.numerics.device == "cuda" else "cpu",
        devices=config.numerics.world_size if is_distributed() else 1,
        strategy="ddp" if is_distributed() else "auto",
        # Ranks are ours to start (pipeline/engine/launch.py), and a requeue is submitit's: without this, Lightning
        # would take a SLURM job for a rank of its own and requeue it on a signal of its own.
        plugins=[TorchElasticEnvironment() if is_distributed() else LightningEnvironment(), CheckpointFile()],
        sync_batchnorm=is_distributed() and config.numerics.batchnorm == "sync",
        precision=precision,
        max_epochs=config.training.epochs,
        gradient_clip_val=config.training.gradient_clip,
        deterministic=config.numerics.deterministic,
        callbacks=callbacks,
        default_root_dir=work,
        logger=False,
        enable_checkpointing=True,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        limit_val_batches=0 if validation is None else 1.0,
    )
    # Lightning would turn the SIGTERM that comes before a requeue into an error of the job; submitit waits for the end.
    setattr(trainer._signal_connector, "register_signal_handlers", lambda: None)  # noqa: B010
    resume = checkpoint if checkpoint.exists() else None
    started = 0 if resume is None else int(_read(resume)["epoch"]) + 1
    handler = signal.getsignal(signal.SIGINT)
    try:
        trainer.fit(module, batches, validation, ckpt_path=resume, weights_only=True)
    except SystemExit as error:
        # Lightning turns Ctrl-C into SystemExit and leaves the signal ignored; callers expect the interrupt.
        if isinstance(error.__context__, KeyboardInterrupt):
            signal.signal(signal.SIGINT, handler)
            raise KeyboardInterrupt from error
        raise
    return started


def _read(checkpoint: Path) -> dict[str, Any]:
    return torch.load(checkpoint, map_location="cpu", weights_only=True)


def _start_over_if_snapshots_are_lost(checkpoint: Path, snapshots: SnapshotWriter) -> None:
    """Delete a checkpoint that is later than snapshots that were never taken, such as ones requested after a kill."""
    if is_main_process() and checkpoint.exists() and snapshots.missing(int(_read(checkpoint)["global_step"])):
        say("  training starts over: the interrupted run did not record all snapshots that are now requested")
        unseal(checkpoint)
    barrier()


def _check_padding(model: nn.Module, data: TrainingData) -> None:
    """Refuse texts that are padded with another token than the one that the network looks for."""
    rows = torch.arange(min(64, data.size("train")))
    batch = data.batch("train", rows)
    pad = getattr(getattr(model, "config", None), "pad_token_id", None)
    if "attention_mask" not in batch or pad is None:
        return
    padding: Tensor = batch["input_ids"][batch["attention_mask"] == 0]
    if bool((padding != pad).any()):
        raise UserError(
            f"Texts are padded with token {int(padding[padding != pad][0])}, but the network reads its answer at the "
            f"last token that is not {pad}: set the tokenizer's padding token or model.architecture.pad_token_id."
        )


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Keep Lightning's notices, and its use of a deprecated PyTorch name, out of our progress lines."""
    logger = logging.getLogger("pytorch_lightning")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r".*treespec, LeafSpec", FutureWarning)
            warnings.filterwarnings("ignore", "You defined a `validation_step` but have no `val_dataloader`")
            warnings.filterwarnings("ignore", r"Found \d+ module\(s\) in eval mode")  # frozen batch normalization
            warnings.filterwarnings("ignore", "The `srun` command is available")  # ranks are ours to start
            warnings.filterwarnings("ignore", ".*`self.log.*sync_dist=True`")  # torchmetrics has synchronized already
            yield
    finally:
        logger.setLevel(level)
