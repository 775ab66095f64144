r"""Rules of linear maps :math:`y_t = W a_t + b`.

The gradient of the weight is :math:`\sum_t \delta_t a_t^T`, that of the bias :math:`\sum_t \delta_t`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from kernels.gradients.blocks import OuterBlock, Role
from kernels.rules.base import Rule, Use
from kernels.rules.positions import argument_first, samples_first, vector_block


def _bind_linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> dict[str, Any]:
    return {"input": input, "weight": weight, "bias": bias}


def _bind_addmm(input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: float = 1, alpha: float = 1) -> dict[str, Any]:
    return {"input": mat1, "weight": mat2, "bias": input, "scales": (alpha, beta)}


def _bind_matmul(input: Tensor, other: Tensor) -> dict[str, Any]:
    return {"input": input, "weight": other}


def _accept_linear(use: Use) -> bool:
    weight = use.views.get("weight")
    inputs = use.arguments.get("input")
    if use.arguments.get("scales", (1, 1)) != (1, 1) or not isinstance(inputs, Tensor) or inputs.ndim < 2:
        return False
    if "bias" in use.views and (use.views["bias"].transposed or len(use.views["bias"].shape) != 1):
        return False
    if weight is None:
        return "bias" in use.views
    if len(weight.shape) == 1:
        return weight.rows is None and use.rule.name == "matmul"
    return len(weight.shape) == 2 and not (weight.transposed and weight.rows is not None)


def _reduce_positions(use: Use, delta: Tensor) -> Tensor:
    if len(use.shape) < use.arguments["input"].ndim:  # W is a vector: the output lost its last axis
        delta = delta.unsqueeze(-1)
    return samples_first(delta, use).flatten(1, -2)


def _build_linear(use: Use, kept: Tensor) -> list[Role]:
    weight, bias = use.views.get("weight"), use.views.get("bias")
    if weight is None:
        assert bias is not None
        return [vector_block(bias, kept.sum(2))]
    inputs = argument_first(use.arguments["input"], use).flatten(1, -2)
    if weight.scale != 1.0:
        inputs = inputs * weight.scale
    stored_transposed = weight.transposed == (use.rule.name == "linear")
    block = OuterBlock(
        weight.name,
        weight.parameter_shape,
        kept,
        inputs,
        transposed=stored_transposed,
        rows=weight.rows,
    )
    if weight.rows is not None and stored_transposed:
        # Rows of an (I, O) parameter are input features: the block still covers whole rows of the first axis.
        block.transposed = True
    if bias is not None:
        block.bias, block.bias_scale = bias.name, bias.scale
        block.bias_shape, block.bias_rows = bias.parameter_shape, bias.rows
    return [block]


def _rule(name: str, bind: Callable[..., dict[str, Any]], *slots: str) -> Rule:
    return Rule(name, bind, slots, _accept_linear, _reduce_positions, _build_linear)


LINEAR = _rule("linear", _bind_linear, "weight", "bias")
ADDMM = _rule("addmm", _bind_addmm, "weight", "bias")
MATMUL = _rule("matmul", _bind_matmul, "weight")
