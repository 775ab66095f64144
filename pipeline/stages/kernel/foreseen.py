"""What stage ``kernel`` refuses about a network, told before it is trained."""

from __future__ import annotations

from torch import nn

from kernels import kernel_features, kernel_matrix
from models.configs import CustomConfig
from pipeline.config.run import RunConfig
from pipeline.data.datamodule import DataModule
from pipeline.errors import UserError
from pipeline.stages.kernel.options import exact_options, sketch_options

FEW = 3
"""Rows that are tried."""


def foresee(config: RunConfig, data: DataModule, network: nn.Module) -> None:
    """Compute the configured kernel on a few rows; only of a network of the user's own, since ours are known.

    Raises
    ------
    UserError
        If the network has no such kernel, or there is no such split.
    """
    choice = config.kernel
    for split in choice.test_splits:
        data.split(split)
    if not isinstance(config.model, CustomConfig):
        return
    points = data.kernel_inputs("train", FEW)
    try:
        if choice.sketch:
            kernel_features(network, points.inputs, **sketch_options(config, dim=1))
        else:
            kernel_matrix(network, points.inputs, **exact_options(config, points.labels))
    except (ValueError, TypeError) as error:
        named = "; name that layer by model.head, such as model.head=fc" * ("output_layer=" in str(error))
        told = str(error).partition(": name the module")[0] if named else error
        raise UserError(
            f"kernel.kind={choice.kind} of this network: {told}{named}; or take kernel, surrogate and attribution "
            "out of wants."
        ) from error
