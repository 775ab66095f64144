"""The one Lightning module: it trains every network of the project on batches that are plain dictionaries."""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torchmetrics import MeanMetric, Metric
from torchmetrics.classification import MulticlassAccuracy
from torchmetrics.regression import MeanSquaredError

from models.adversarial_training import BatchAttack
from models.logits import INITIAL_OUTPUTS, logits_of, predicted_class, targets_of
from models.losses import loss_named
from models.optimizers.schedules import learning_rate_factor, make_optimizer


class ClassifierModule(pl.LightningModule):
    """Train a classifier, or a regressor under ``loss="regression"``.

    Batches are dictionaries: images ``{image, label, id}``, texts ``{input_ids, attention_mask, label, id}``,
    regression ``{x, y, id}``. Logged per epoch: ``train_loss``, ``val_loss`` (means over samples), and
    ``train_accuracy``, ``val_accuracy`` or, for regression, ``train_rmse``, ``val_rmse``.

    Parameters
    ----------
    model : nn.Module
        Anything that :func:`models.logits.logits_of` can call.
    n_classes : int
        Number of classes (ignored for regression).
    total_steps : int
        Optimizer steps of the whole training, for the schedule.
    loss : str
        One of :data:`models.losses.LOSSES`.
    label_smoothing : float
        Share of the target that is spread over all classes, in training alone; evaluation measures the plain loss.
    optimizer, lr, momentum, weight_decay
        See :func:`models.optimizers.schedules.make_optimizer`.
    schedule, warmup, milestones, gamma
        See :func:`models.optimizers.schedules.learning_rate_factor`; applied per step.
    center_output : bool
        Train f(theta) - f(theta_0), the output minus that of a frozen copy taken now (arXiv 1812.07956).
    attack : BatchAttack, optional
        Attacks the images of every training batch before the step on it; validation images stay clean.

    Examples
    --------
    >>> import torch
    >>> from models import ClassifierModule, build_model
    >>> network = build_model("mlp", input_shape=(4,), n_classes=3, seed=0, widths=[8])
    >>> module = ClassifierModule(network, n_classes=3, total_steps=100, lr=0.05, schedule="cosine")
    >>> module({"x": torch.zeros(2, 4)}).shape
    torch.Size([2, 3])
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        n_classes: int,
        total_steps: int,
        loss: str = "cross_entropy",
        label_smoothing: float = 0.0,
        optimizer: str = "sgd",
        lr: float = 0.1,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        schedule: str = "constant",
        warmup: float = 0.0,
        milestones: Sequence[float] = (),
        gamma: float = 0.1,
        center_output: bool = False,
        attack: BatchAttack | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.attack = attack
        self.loss = loss_named(loss)
        self.training_loss = loss_named(loss, label_smoothing)
        self.is_regression = loss == "regression"
        self._optimizer = {"name": optimizer, "lr": lr, "momentum": momentum, "weight_decay": weight_decay}
        self._schedule: dict[str, Any] = {
            "total_steps": total_steps,
            "schedule": schedule,
            "warmup": warmup,
            "milestones": list(milestones),
            "gamma": gamma,
        }
        self.configure_optimizers()
        # Held in a tuple so that the frozen copy stays out of state_dict, checkpoints and parameter lists.
        self._initial: tuple[nn.Module, ...] = ()
        if center_output:
            self._initial = (copy.deepcopy(model).requires_grad_(False).eval(),)
        self.metrics = nn.ModuleDict()
        for part in ("train", "val"):
            self.metrics[f"{part}_loss"] = MeanMetric(nan_strategy="disable")
            if self.is_regression:
                self.metrics[f"{part}_rmse"] = MeanSquaredError(squared=False)
            else:
                self.metrics[f"{part}_accuracy"] = MulticlassAccuracy(
                    num_classes=max(2, n_classes), average="micro", validate_args=False
                )

    def forward(self, batch: dict[str, Tensor]) -> Float[Tensor, "n c"]:
        """Return the outputs for a batch, centered if ``center_output`` is set."""
        return self.outputs_of(self.model, batch)

    def outputs_of(self, model: nn.Module, batch: dict[str, Tensor]) -> Float[Tensor, "n c"]:
        """Return the outputs of another network of the same kind, such as a copy of the one in training.

        A batch that brings its outputs at initialization in a column ``initial`` saves the pass that would find them.
        """
        outputs = logits_of(model, batch)
        if not self._initial:
            return outputs
        if INITIAL_OUTPUTS in batch:
            return outputs - batch[INITIAL_OUTPUTS]
        with torch.no_grad():
            initial = logits_of(self._initial[0], batch)
        return outputs - initial

    def on_fit_start(self) -> None:
        """Move the frozen initial copy to the network's device."""
        self.align_initial()

    def align_initial(self) -> None:
        """Move the frozen initial copy to the device and precision of the network."""
        parameter = next(self.model.parameters())
        for initial in self._initial:
            initial.to(device=parameter.device, dtype=parameter.dtype)

    @property
    def initial(self) -> nn.Module | None:
        """The frozen copy that centers the output, or None."""
        return self._initial[0] if self._initial else None

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """Return the loss of one training batch, attacked first if there is an attack."""
        if self.attack is not None:
            batch = self.attack(self.model, self, batch, self.global_step)
        return self._step(batch, "train")

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Update the metrics with one validation batch."""
        self._step(batch, "val")

    def on_train_epoch_start(self) -> None:
        """Reset the training metrics of the previous epoch."""
        self._reset("train")

    def on_validation_epoch_start(self) -> None:
        """Reset the validation metrics of the previous epoch."""
        self._reset("val")

    def on_validation_epoch_end(self) -> None:
        """Log the validation metrics."""
        self.log_dict(self.epoch_scores("val"))

    def on_train_epoch_end(self) -> None:
        """Log the training metrics."""
        self.log_dict(self.epoch_scores("train"))

    def epoch_scores(self, part: str) -> dict[str, float]:
        """Compute the metrics of the current epoch over all ranks.

        Parameters
        ----------
        part : {"train", "val"}
            Without a validation batch the result for ``val`` is empty.
        """
        return {name: float(metric.compute()) for name, metric in self._metrics_of(part) if metric.update_called}

    def configure_optimizers(self) -> Any:
        """Build the optimizer over the trained parameters, with the schedule applied at every step."""
        options = dict(self._optimizer)
        optimizer = make_optimizer(self.model, str(options.pop("name")), **options)  # type: ignore[arg-type]
        factor = functools.partial(learning_rate_factor, **self._schedule)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def _step(self, batch: dict[str, Tensor], part: str) -> Tensor:
        outputs = self(batch)
        targets = targets_of(batch)
        loss = (self.training_loss if part == "train" else self.loss)(outputs, targets)
        if self.is_regression:
            score, seen = "rmse", outputs.detach()
            targets = targets.reshape(outputs.shape)
        else:
            score, seen = "accuracy", predicted_class(outputs.detach())
        # One entry per sample: with nan_strategy="disable" torchmetrics 1.9 drops the weights of an update.
        self.metrics[f"{part}_loss"].update(loss.detach().expand(len(targets)))  # type: ignore[operator]
        self.metrics[f"{part}_{score}"].update(seen, targets)  # type: ignore[operator]
        return loss

    def _metrics_of(self, part: str) -> Iterator[tuple[str, Metric]]:
        for name, metric in self.metrics.items():
            if isinstance(metric, Metric) and name.startswith(f"{part}_"):
                yield name, metric

    def _reset(self, part: str) -> None:
        for _, metric in self._metrics_of(part):
            metric.reset()
