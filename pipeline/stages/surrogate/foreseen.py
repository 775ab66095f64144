"""What stage ``surrogate`` refuses about rows, told before a network is trained on them."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int
from torch import nn

from pipeline.config.run import RunConfig
from pipeline.data.datamodule import DataModule
from pipeline.errors import UserError


def foresee(config: RunConfig, data: DataModule, network: nn.Module) -> None:
    """Hold the rows of the kernel against what the configured kernel machine needs.

    Raises
    ------
    UserError
        If the targets are no classes, or a class has too few rows among those of the kernel.
    """
    if not data.n_classes:
        raise UserError(
            f"A surrogate classifies, and data={config.data.name} has real targets; take surrogate (and attribution) "
            "out of wants."
        )
    labels = data.kernel_inputs("train", config.kernel.n_train).labels.numpy()
    if missing := sorted(set(range(data.n_classes)) - set(labels.tolist())):
        raise UserError(
            f"Class {data.class_names[missing[0]]} has no row among the kernel's {len(labels)} training points, and a "
            "surrogate is fitted to all classes; raise kernel.n_train, or set kernel.n_train=null for all rows."
        )
    if config.surrogate.kind == "glm" and config.surrogate.alpha is None:
        refuse_rare_classes(labels)


def refuse_rare_classes(labels: Int[np.ndarray, " n"]) -> None:
    """Refuse cross-validation where it could not hold out a point of every class.

    Raises
    ------
    UserError
        With the class.
    """
    classes, counts = np.unique(labels, return_counts=True)
    if counts.min() < 2:
        raise UserError(
            "surrogate.alpha=null is chosen by cross-validation, which needs two kernel points of a class, and class "
            f"{classes[counts.argmin()]} has one among {len(labels)}: raise kernel.n_train, or set "
            "surrogate.alpha=1e-4."
        )
