"""Rules of element-wise uses of a parameter p under broadcasting: x + p, x * p, where(m, x, p), expand(p)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from kernels.gradients.blocks import Role
from kernels.rules.base import ParameterView, Rule, Use
from kernels.rules.positions import samples_first, vector_block


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
        sums = [1] + [2 + i for i, extent in enumerate(_aligned(use, view)) if extent == 1]
        parts.append(values.sum(sums).reshape(use.batch, -1))
    return torch.cat(parts, 1)


def _aligned(use: Use, view: ParameterView) -> tuple[int, ...]:
    """Extents of a parameter along the axes of the output, without the axis of the samples."""
    count = len(use.shape)
    if use.layout == "shared":  # the samples were put in front of an axis, or in place of one of extent one
        return ((1,) * count + tuple(view.shape))[-(count - 1) :] if count > 1 else ()
    extents = (1,) * (count - len(view.shape)) + tuple(view.shape)
    axis = 1 if use.layout == "second" else 0
    return extents[:axis] + extents[axis + 1 :]


def _build_elementwise(use: Use, kept: Tensor) -> list[Role]:
    blocks: list[Role] = []
    start = 0
    for view in use.views.values():
        stop = start + view.shape.numel()
        blocks.append(vector_block(view, kept[:, :, start:stop]))
        start = stop
    return blocks


def _rule(name: str, bind: Callable[..., dict[str, Any]], *slots: str) -> Rule:
    return Rule(name, bind, slots, _accept_elementwise, _reduce_elementwise, _build_elementwise)


ADD = _rule("add", _bind_pair, "left", "right")
SUBTRACT = _rule("subtract", _bind_pair, "left", "right")
MULTIPLY = _rule("multiply", _bind_pair, "left", "right")
DIVIDE = _rule("divide", _bind_divide, "left", "right")
WHERE = _rule("where", _bind_where, "left", "right")
EXPAND = _rule("expand", _bind_expand, "left")
REVERSED_ADD = _rule("add", _bind_reversed, "left", "right")
REVERSED_SUBTRACT = _rule("subtract", _bind_reversed, "left", "right")
REVERSED_MULTIPLY = _rule("multiply", _bind_reversed, "left", "right")
