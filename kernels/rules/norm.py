r"""Rules of normalization layers.

With :math:`y = \gamma \hat x + \beta` the per-sample gradients are :math:`\sum_t \delta_t \hat x_t` and
:math:`\sum_t \delta_t`, where :math:`\hat x` uses the sample's own statistics (layer, group, instance, RMS) or the
running ones (batch normalization in evaluation mode).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from kernels.gradients.blocks import Role
from kernels.rules.base import Rule, Use
from kernels.rules.positions import read_whole, samples_first, vector_block


def _bind_layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> dict[str, Any]:
    def standardize(x: Tensor) -> Tensor:
        return F.layer_norm(x, normalized_shape, None, None, eps)

    return {"input": input, "weight": weight, "bias": bias, "hat": standardize, "axes": len(normalized_shape)}


def _bind_rms_norm(
    input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None = None, eps: float | None = None
) -> dict[str, Any]:
    def standardize(x: Tensor) -> Tensor:
        return F.rms_norm(x, normalized_shape, None, eps)

    return {"input": input, "weight": weight, "hat": standardize, "axes": len(normalized_shape)}


def _bind_group_norm(
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> dict[str, Any]:
    def standardize(x: Tensor) -> Tensor:
        return F.group_norm(x, num_groups, None, None, eps)

    return {"input": input, "weight": weight, "bias": bias, "hat": standardize, "axes": 0}


def _bind_batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> dict[str, Any]:
    if training or running_mean is None:
        raise ValueError(
            "batch normalization with batch statistics couples the samples of a batch, so per-sample gradients do not "
            "exist; call model.eval() (or pass eval_mode=True) and keep running statistics"
        )

    assert running_var is not None
    scale = (running_var + eps).rsqrt()
    affine = (scale, -running_mean * scale)  # xhat = scale * x + shift, never formed
    return {"input": input, "weight": weight, "bias": bias, "affine": affine, "axes": 0}


def _bind_instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> dict[str, Any]:
    def standardize(x: Tensor) -> Tensor:
        if use_input_stats:
            return F.instance_norm(x, eps=eps)
        return F.instance_norm(x, running_mean, running_var, use_input_stats=False, eps=eps)

    return {"input": input, "weight": weight, "bias": bias, "hat": standardize, "axes": 0}


def _accept_norm(use: Use) -> bool:
    return (
        bool(use.views) and read_whole(use, "weight", "bias") and (use.arguments["axes"] > 0 or use.layout == "batch")
    )


def _reduce_norm(use: Use, delta: Tensor) -> Tensor:
    parts = []
    axes = use.arguments["axes"]
    if "weight" in use.views:
        affine = use.arguments.get("affine")
        if affine is None:
            parts.append(_per_channel(delta * use.arguments["hat"](use.arguments["input"]), use, axes))
        else:
            scale, shift = affine
            products = _per_channel(delta * use.arguments["input"], use, axes)
            parts.append(products * scale + _per_channel(delta, use, axes) * shift)
    if "bias" in use.views:
        parts.append(_per_channel(delta, use, axes))
    return torch.cat(parts, 1)


def _per_channel(values: Tensor, use: Use, axes: int) -> Tensor:
    if axes:  # the parameter spans the trailing axes
        inner = values.shape[-axes:].numel()
        return samples_first(values, use).reshape(use.batch, -1, inner).sum(1)
    values = values.unflatten(0, (use.batch, -1))
    return values.flatten(3).sum((1, 3)) if values.ndim > 3 else values.sum(1)


def _build_norm(use: Use, kept: Tensor) -> list[Role]:
    views = [use.views[slot] for slot in ("weight", "bias") if slot in use.views]
    blocks: list[Role] = []
    for view, values in zip(views, kept.chunk(len(views), 2), strict=True):
        blocks.append(vector_block(view, values))
    return blocks


def _rule(name: str, bind: Callable[..., dict[str, Any]]) -> Rule:
    return Rule(name, bind, ("weight", "bias"), _accept_norm, _reduce_norm, _build_norm)


LAYER_NORM = _rule("layer_norm", _bind_layer_norm)
RMS_NORM = _rule("rms_norm", _bind_rms_norm)
GROUP_NORM = _rule("group_norm", _bind_group_norm)
BATCH_NORM = _rule("batch_norm", _bind_batch_norm)
INSTANCE_NORM = _rule("instance_norm", _bind_instance_norm)
