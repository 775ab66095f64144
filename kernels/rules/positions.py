"""Shared by several rules: positions behind samples, and parameters that are read unchanged."""

from __future__ import annotations

from torch import Tensor

from kernels.gradients.blocks import VectorBlock
from kernels.rules.base import ParameterView, Use


def samples_first(tensor: Tensor, use: Use) -> Tensor:
    """Move the batch axis of an output, or of its gradient, to the front and split folded axes off it.

    Returns
    -------
    Tensor, shape (B, m, ...)
        ``m`` = 1 where nothing was folded into the batch axis.
    """
    if use.layout == "second":
        return tensor.transpose(0, 1).unsqueeze(1)
    if use.layout == "minor":
        return tensor.unflatten(0, (-1, use.batch)).transpose(0, 1)
    return tensor.unflatten(0, (use.batch, -1))


def argument_first(tensor: Tensor, use: Use) -> Tensor:
    """Do the same with an argument, which has no batch axis yet where only the output was spread over the samples."""
    if use.layout != "shared":
        return samples_first(tensor, use)
    inner = tensor.squeeze(0) if tensor.shape[:1] == (1,) and tensor.ndim > 1 else tensor
    return inner.expand(use.batch, *inner.shape).unsqueeze(1)


def read_whole(use: Use, *slots: str) -> bool:
    """Whether these parameters are read as they are: untransposed, unscaled, whole."""
    views = [use.views[slot] for slot in slots if slot in use.views]
    return all(v.rows is None and not v.transposed and v.shape == v.parameter_shape for v in views)


def vector_block(view: ParameterView, values: Tensor) -> VectorBlock:
    """Per-sample gradients of a parameter that is read element by element, as a block."""
    return VectorBlock(view.name, view.parameter_shape, values * view.scale, view.rows)
