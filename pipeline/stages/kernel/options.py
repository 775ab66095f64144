"""How the configured kernel is asked for."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from pipeline.config.run import RunConfig
from pipeline.training.networks import output_layer


def exact_options(config: RunConfig, labels: Tensor) -> dict[str, Any]:
    """Options of :func:`kernels.kernel_matrix` for the configured kernel on points with these labels."""
    choice = config.kernel
    options: dict[str, Any] = {
        "kind": choice.kind,
        "normalize": choice.normalize,
        "layerwise": choice.layerwise,
        "precision": choice.precision,
        "memory": choice.memory,
        "certify": choice.certify,
    }
    if choice.kind == "loss_gradient":
        options["labels"] = labels
    if choice.kind == "conjugate":
        options["output_layer"] = output_layer(config)
    return options


def sketch_options(config: RunConfig, dim: int) -> dict[str, Any]:
    """Options of :func:`kernels.kernel_features` for the configured kernel in so many dimensions."""
    choice = config.kernel
    return {
        "kind": choice.kind,
        "sketch": choice.sketch,
        "dim": dim,
        "precision": choice.precision,
        "certify": choice.certify,
    }
