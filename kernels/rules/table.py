r"""Rules by operation: how each one's parameter gradient factorises over positions.

Each section states the per-sample gradient for output gradient :math:`\delta` of one sample; the convention of one
position per row of the flattened trailing axes is shared by all. The registry :data:`RULES` maps torch functions to
rules; an operation that is not in it sends its parameters to the generic fallback.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from kernels.capture.trace import Rule, Use
from kernels.gradients.blocks import OuterBlock, Role, TokenBlock
from kernels.rules.conv import CONVOLUTIONS
from kernels.rules.norm import NORMS
from kernels.rules.positions import read_whole, samples_first, vector_block

# Linear maps: y_t = W a_t + b, gradient sum_t delta_t a_t^T and sum_t delta_t.


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
    inputs = samples_first(use.arguments["input"], use).flatten(1, -2)
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


# Embedding: row v receives the sum of delta_t over the positions t that read it.


def _bind_embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> dict[str, Any]:
    if scale_grad_by_freq:
        raise ValueError(
            "embedding with scale_grad_by_freq=True: its gradient depends on the other samples of the batch, so a "
            "kernel is not defined; build the embedding without it"
        )
    if max_norm is not None:
        raise ValueError(
            "embedding with max_norm rewrites its own weights in the forward pass; renormalise once and drop max_norm"
        )
    return {"ids": input, "weight": weight, "padding_idx": padding_idx}


def _accept_embedding(use: Use) -> bool:
    view = use.views.get("weight")
    return view is not None and read_whole(use, "weight") and view.scale == 1.0


def _reduce_embedding(use: Use, delta: Tensor) -> Tensor:
    return samples_first(delta, use).flatten(1, -2)


def _build_embedding(use: Use, kept: Tensor) -> list[Role]:
    view = use.views["weight"]
    ids = samples_first(use.arguments["ids"], use).flatten(1).long()
    padding = use.arguments["padding_idx"]
    if padding is not None:
        padding = padding % view.shape[0]
        ids = torch.where(ids == padding, -1, ids)
        kept = kept * (ids >= 0)[:, None, :, None]
    return [TokenBlock(view.name, view.shape, ids, kept)]


# Element-wise use of a parameter p under broadcasting: x + p, x * p, expand(p).


def _bind_pair(input: Any, other: Any, *, alpha: float = 1) -> dict[str, Any]:
    return {"left": input, "right": other, "alpha": alpha}


def _bind_reversed(input: Any, other: Any) -> dict[str, Any]:
    return {"left": other, "right": input, "alpha": 1}


def _bind_divide(input: Any, other: Any, *, rounding_mode: str | None = None) -> dict[str, Any]:
    return {"left": input, "right": other, "alpha": 1, "rounding": rounding_mode}


def _bind_where(condition: Any, input: Any = None, other: Any = None) -> dict[str, Any]:
    return {"left": input, "right": other, "alpha": 1, "condition": condition}


def _bind_expand(input: Tensor, *sizes: Any, size: Any = None, implicit: bool = False) -> dict[str, Any]:
    return {"left": input}


def _accept_elementwise(use: Use) -> bool:
    name, views = use.rule.name, use.views
    if name == "divide" or name == "multiply" and len(views) != 1:
        return False
    if len(views) == 2 and len({view.name for view in views.values()}) == 1:
        return False
    for view in views.values():
        if view.transposed or len(view.shape) > len(use.shape):
            return False
        # The sample axis must be one along which the parameter is broadcast.
        axis = 1 if use.layout == "second" else 0
        aligned = (1,) * (len(use.shape) - len(view.shape)) + tuple(view.shape)
        if use.layout != "shared" and (len(aligned) <= axis or aligned[axis] != 1):
            return False
    return True


def _reduce_elementwise(use: Use, delta: Tensor) -> Tensor:
    parts = []
    for slot, view in use.views.items():
        values = delta
        if use.rule.name == "multiply":
            other = use.arguments["right" if slot == "left" else "left"]
            values = delta * other
        elif use.rule.name == "where":
            values = delta * (use.arguments["condition"] == (slot == "left"))
        elif use.rule.name == "subtract" and slot == "right":
            values = -delta
        if slot == "right" and use.rule.name != "multiply":
            values = values * use.arguments["alpha"]
        values = samples_first(values, use)
        lead = values.ndim - len(view.shape)
        if lead < 2:  # the parameter spans the batch axis too, with extent 1
            values, lead = values.unsqueeze(1), 2
            shape = view.shape[len(view.shape) - (values.ndim - 2) :]
        else:
            shape = view.shape
        sums = list(range(1, lead)) + [lead + i for i, extent in enumerate(shape) if extent == 1]
        parts.append(values.sum(sums).reshape(use.batch, -1))
    return torch.cat(parts, 1)


def _build_elementwise(use: Use, kept: Tensor) -> list[Role]:
    blocks: list[Role] = []
    start = 0
    for view in use.views.values():
        stop = start + view.shape.numel()
        blocks.append(vector_block(view, kept[:, :, start:stop]))
        start = stop
    return blocks


def _elementwise(name: str, bind: Callable[..., dict[str, Any]], *slots: str) -> Rule:
    return Rule(name, bind, slots, _accept_elementwise, _reduce_elementwise, _build_elementwise)


def _linear(name: str, bind: Callable[..., dict[str, Any]], *slots: str) -> Rule:
    return Rule(name, bind, slots, _accept_linear, _reduce_positions, _build_linear)


_MATMUL = _linear("matmul", _bind_matmul, "weight")
_ADD = _elementwise("add", _bind_pair, "left", "right")
_SUBTRACT = _elementwise("subtract", _bind_pair, "left", "right")
_MULTIPLY = _elementwise("multiply", _bind_pair, "left", "right")
_DIVIDE = _elementwise("divide", _bind_divide, "left", "right")
_WHERE = _elementwise("where", _bind_where, "left", "right")
_EXPAND = _elementwise("expand", _bind_expand, "left")

RULES: dict[Any, Rule] = {
    F.linear: _linear("linear", _bind_linear, "weight", "bias"),
    torch.addmm: _linear("addmm", _bind_addmm, "weight", "bias"),
    F.embedding: Rule(
        "embedding", _bind_embedding, ("weight",), _accept_embedding, _reduce_embedding, _build_embedding
    ),
    **dict.fromkeys(
        (torch.matmul, torch.mm, torch.mv, Tensor.matmul, Tensor.mm, Tensor.mv, Tensor.__matmul__), _MATMUL
    ),
    **dict.fromkeys((torch.add, Tensor.add, Tensor.add_, Tensor.__add__, Tensor.__iadd__), _ADD),
    **dict.fromkeys((torch.sub, Tensor.sub, Tensor.sub_, Tensor.__sub__, Tensor.__isub__), _SUBTRACT),
    **dict.fromkeys((torch.mul, Tensor.mul, Tensor.__mul__), _MULTIPLY),
    **dict.fromkeys((torch.div, torch.true_divide, Tensor.div, Tensor.__truediv__), _DIVIDE),
    **dict.fromkeys((Tensor.expand, torch.broadcast_to), _EXPAND),
    **dict.fromkeys((torch.where, Tensor.where), _WHERE),
    Tensor.__radd__: _elementwise("add", _bind_reversed, "left", "right"),
    Tensor.__rmul__: _elementwise("multiply", _bind_reversed, "left", "right"),
    Tensor.__rsub__: _elementwise("subtract", _bind_reversed, "left", "right"),
    **NORMS,
    **CONVOLUTIONS,
}
