r"""Rules of convolutions and transposed convolutions in one, two and three dimensions.

A convolution is a linear map of unfolded patches: :math:`G = \sum_t \delta_t a_t^T` per channel group, with
:math:`a_t` the patch under output position :math:`t`. A transposed convolution exchanges the roles: its weight
gradient is :math:`\sum_t x_t u_t^T` with :math:`u_t` the patch of the padded output gradient above input position
:math:`t`.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from kernels.gradients.blocks import ConvBlock, OuterBlock, Role, VectorBlock
from kernels.gradients.windows import Windows
from kernels.rules.base import Rule, Use


def _bind_conv(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> dict[str, Any]:
    return {
        "input": input,
        "weight": weight,
        "bias": bias,
        "stride": stride,
        "padding": padding,
        "dilation": dilation,
        "groups": groups,
        "kernel": tuple(weight.shape[2:]),
    }


def _bind_transposed(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> dict[str, Any]:
    return _bind_conv(input, weight, bias, stride, padding, dilation, groups)


def _accept(use: Use) -> bool:
    inputs = use.arguments.get("input")
    if not isinstance(inputs, Tensor) or inputs.ndim != len(use.arguments["kernel"]) + 2:
        return False
    whole = all(v.rows is None and v.shape == v.parameter_shape and not v.transposed for v in use.views.values())
    return whole and use.layout == "batch"


def _tuple(value: Any, axes: int) -> tuple[int, ...]:
    values = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    return values * axes if len(values) == 1 else values


def _keep(use: Use, delta: Tensor) -> Tensor:
    return delta.unflatten(0, (use.batch, -1))


def _bias_block(use: Use, kept: Tensor) -> VectorBlock:
    view = use.views["bias"]
    axes = [2, *range(4, kept.ndim)]
    return VectorBlock(view.name, view.parameter_shape, kept.sum(axes) * view.scale)


def _build_conv(use: Use, kept: Tensor) -> list[Role]:
    """``kept`` is (B, R, m, O, *space); m images per sample."""
    weight, bias = use.views.get("weight"), use.views.get("bias")
    if weight is None:
        return [_bias_block(use, kept)]
    arguments, kernel = use.arguments, use.arguments["kernel"]
    axes = len(kernel)
    stride, dilation = _tuple(arguments["stride"], axes), _tuple(arguments["dilation"], axes)
    windows = Windows(kernel, stride, dilation, _before(arguments["padding"], kernel, dilation), tuple(use.shape[2:]))
    image = arguments["input"]
    if weight.scale != 1.0:
        image = image * weight.scale
    images = kept.shape[2]
    delta = kept.flatten(4).movedim(3, 4).flatten(2, 3)
    common: dict[str, Any] = {"groups": arguments["groups"]}
    if bias is not None:
        common |= {"bias": bias.name, "bias_scale": bias.scale, "bias_shape": bias.parameter_shape}
    if images > 1:
        patches = windows.patches(image).unflatten(0, (use.batch, images)).flatten(1, 2)
        return [OuterBlock(weight.name, weight.parameter_shape, delta, patches, **common)]
    return [ConvBlock(weight.name, weight.parameter_shape, delta, image, windows=windows, **common)]


def _before(padding: Any, kernel: tuple[int, ...], dilation: tuple[int, ...]) -> tuple[int, ...]:
    """Zeros in front of the image along each axis."""
    if padding == "same":
        return tuple(d * (k - 1) // 2 for k, d in zip(kernel, dilation, strict=True))
    return _tuple(0 if padding == "valid" else padding, len(kernel))


def _build_transposed(use: Use, kept: Tensor) -> list[Role]:
    weight = use.views.get("weight")
    blocks: list[Role] = [] if "bias" not in use.views else [_bias_block(use, kept)]
    if weight is None:
        return blocks
    arguments, kernel = use.arguments, use.arguments["kernel"]
    axes, groups = len(kernel), arguments["groups"]
    stride, dilation = _tuple(arguments["stride"], axes), _tuple(arguments["dilation"], axes)
    source = arguments["input"]
    space = tuple(source.shape[2:])
    batch, cotangents, images = kept.shape[:3]
    windows = Windows(kernel, stride, dilation, _tuple(arguments["padding"], axes), space)
    delta = windows.patches(kept.flatten(0, 2))
    delta = delta.unflatten(0, (batch, cotangents, images)).flatten(2, 3)
    inputs = source.unflatten(0, (batch, images)).flatten(3).transpose(2, 3).flatten(1, 2)
    outer = OuterBlock(
        weight.name, weight.parameter_shape, delta * weight.scale, inputs, groups=groups, transposed=True
    )
    return [outer, *blocks]


CONVOLUTION = Rule("convolution", _bind_conv, ("weight", "bias"), _accept, _keep, _build_conv)
TRANSPOSED_CONVOLUTION = Rule(
    "transposed convolution", _bind_transposed, ("weight", "bias"), _accept, _keep, _build_transposed
)
