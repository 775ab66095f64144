r"""Operations without a rule of their own, written out in operations that have one.

While a pass is traced, an operation in :data:`REWRITES` that reads a parameter is replaced by its definition: an
embedding bag is the sum of an embedding, a bilinear map is linear in the products of its inputs, a recurrent layer is
the same linear maps at every step. A rewrite that does not apply to a call returns ``NotImplemented``, and the
parameter goes to the generic fallback. Values agree with the original's to rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from kernels.rules.recurrent import RECURRENT


def _embedding_bag(
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Any:
    """Sum or mean of the rows that a sample reads, padding left out."""
    if input.ndim != 2 or mode == "max" or max_norm is not None or scale_grad_by_freq:
        return NotImplemented
    kept = torch.ones_like(input, dtype=torch.bool)
    if padding_idx is not None:
        kept = input != padding_idx % len(weight)
    shares = kept.to(weight.dtype)
    if mode == "mean":
        shares = shares / shares.sum(1, keepdim=True).clamp_min(1)
    if per_sample_weights is not None:
        shares = shares * per_sample_weights
    return (F.embedding(input, weight) * shares.unsqueeze(2)).sum(1)


def _bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Any:
    """y_k = x1ᵀ W_k x2 + b_k, a linear map of all products x1_i x2_j."""
    products = input1.unsqueeze(-1) * input2.unsqueeze(-2)
    return F.linear(products.flatten(-2), weight.flatten(1), bias)


def _prelu(input: Tensor, weight: Tensor) -> Any:
    """Slope 1 above zero, one slope per channel (the second axis) below."""
    slope = weight if weight.numel() == 1 or input.ndim < 3 else weight.view(-1, *[1] * (input.ndim - 2))
    return torch.where(input > 0, input, input * slope)


def _repeat(input: Tensor, *sizes: Any) -> Any:
    """Repetition of an axis of extent one is an expansion; of the first axis, one along a new axis before it."""
    times = tuple(sizes[0]) if len(sizes) == 1 and not isinstance(sizes[0], int) else sizes
    extents = (1,) * (len(times) - input.ndim) + tuple(input.shape)
    if any(t != 1 and extent != 1 for t, extent in zip(times[1:], extents[1:], strict=True)):
        return NotImplemented
    expanded = [t * extent for t, extent in zip(times, extents, strict=True)]
    alone = all(t == 1 for t in times)  # that is how often a batch of one sample repeats it
    if extents[0] > 1 and (alone or times[0] != 1):
        return input.expand(times[0], extents[0], *expanded[1:]).flatten(0, 1)
    # A repeated tensor lies in memory in order, and may be written into; an expanded one does and may not.
    return input.expand(expanded).clone(memory_format=torch.contiguous_format)


def _masked_fill(input: Tensor, mask: Tensor, value: Any) -> Any:
    return torch.where(mask, value, input)


def _look_up(table: Tensor, index: Any) -> Any:
    """Rows of a table (V, ...) are an embedding."""
    if not isinstance(index, Tensor) or index.dtype not in (torch.int64, torch.int32) or table.ndim == 0:
        return NotImplemented
    if table.ndim == 2:
        return F.embedding(torch.where(index < 0, index + len(table), index), table)
    found = F.embedding(torch.where(index < 0, index + len(table), index), table.reshape(len(table), -1))
    return found.reshape(*index.shape, *table.shape[1:])


def _select_rows(input: Tensor, dim: int, index: Tensor) -> Any:
    return _look_up(input, index) if dim == 0 and index.ndim == 1 else NotImplemented


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Any:
    """Attention whose additive mask holds parameters: relative position biases."""
    if attn_mask is None or not attn_mask.is_floating_point() or dropout_p > 0 or is_causal or enable_gqa:
        return NotImplemented
    scores = query @ key.mT * (1.0 / math.sqrt(query.shape[-1]) if scale is None else scale)
    return torch.softmax(scores + attn_mask, -1) @ value


def _matmul(input: Tensor, other: Tensor) -> Any:
    """Take a matrix on the left as a linear map of columns, and expand one matrix per head over the samples."""
    if input.ndim == 2 and other.ndim > 2:
        return F.linear(other.mT, input).mT
    if min(input.ndim, other.ndim) < 3 or input.requires_grad == other.requires_grad:
        return NotImplemented
    parameter, x = (other, input) if input.requires_grad else (input, other)  # parameters are frozen in a trace
    shape = (1,) * (x.ndim - parameter.ndim) + tuple(parameter.shape)
    if len(shape) > x.ndim or shape[0] != 1:
        return NotImplemented
    spread = parameter.expand(x.shape[0], *shape[1:])
    return input @ spread if parameter is other else spread @ other


def _bmm(input: Tensor, mat2: Tensor) -> Any:
    """Go through the matrices of heads or blocks (the first axis) one after another."""
    if input.requires_grad == mat2.requires_grad:
        return NotImplemented
    return torch.stack([x @ w for x, w in zip(input, mat2, strict=True)])


def _baddbmm(input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: float = 1, alpha: float = 1) -> Any:
    """Go through them likewise, with one bias per head."""
    plain = beta == alpha == 1 and input.ndim == 3 and input.shape[:2] == (len(batch2), 1)
    if not plain or batch2.requires_grad or not batch1.requires_grad:
        return NotImplemented
    return torch.stack([torch.addmm(b[0], x, w) for b, x, w in zip(input, batch1, batch2, strict=True)])


def _einsum(equation: Any, *operands: Any) -> Any:
    """Product of a tensor and one parameter, as a matrix product where the parameter is a matrix of grouped axes.

    An axis of both that is not summed (heads) is gone through one entry at a time.
    """
    if len(operands) == 1 and isinstance(operands[0], (list, tuple)):
        operands = tuple(operands[0])
    if not isinstance(equation, str) or len(operands) != 2 or "->" not in equation or "." in equation:
        return NotImplemented
    terms, out = equation.replace(" ", "").split("->")
    letters = terms.split(",")
    shared = [axis for axis in out if all(axis in names for names in letters)]
    if shared and operands[0].requires_grad != operands[1].requires_grad:
        inner = f"{terms}->{out}".replace(shared[0], "")
        places = [names.index(shared[0]) for names in letters]
        count = operands[0].shape[places[0]]
        parts = [
            torch.einsum(inner, *(x.select(at, i) for x, at in zip(operands, places, strict=True)))
            for i in range(count)
        ]
        return torch.stack(parts, out.index(shared[0]))
    order = (0, 1) if operands[0].requires_grad or not operands[1].requires_grad else (1, 0)
    x, w = (operands[i] for i in order)
    of_x, of_w = (letters[i] for i in order)
    summed = [axis for axis in of_w if axis in of_x]
    kept = [axis for axis in of_w if axis not in of_x]
    rest = [axis for axis in of_x if axis not in of_w]
    distinct = len(set(of_x)) == len(of_x) and len(set(of_w)) == len(of_w) and set(out) == {*rest, *kept}
    if not distinct or not summed or not kept or of_w not in ("".join(summed + kept), "".join(kept + summed)):
        return NotImplemented
    size = dict(zip(of_w, w.shape, strict=True))
    rows = x.permute([of_x.index(axis) for axis in rest + summed]).flatten(len(rest))
    if of_w.startswith(kept[0]):
        product = F.linear(rows, w.flatten(len(kept)).flatten(0, -2))
    else:
        product = torch.matmul(rows, w.flatten(len(summed)).flatten(0, -2))
    product = product.unflatten(-1, [size[axis] for axis in kept])
    found = rest + kept
    return product.permute([found.index(axis) for axis in out])


REWRITES: dict[Any, Callable[..., Any]] = {
    F.embedding_bag: _embedding_bag,
    F.bilinear: _bilinear,
    torch.prelu: _prelu,
    Tensor.repeat: _repeat,
    torch.masked_fill: _masked_fill,
    Tensor.masked_fill: _masked_fill,
    Tensor.__getitem__: _look_up,
    **dict.fromkeys((torch.index_select, Tensor.index_select), _select_rows),
    F.scaled_dot_product_attention: _attention,
    **dict.fromkeys((torch.matmul, Tensor.matmul, Tensor.__matmul__), _matmul),
    torch.einsum: _einsum,
    **dict.fromkeys((torch.bmm, Tensor.bmm), _bmm),
    **dict.fromkeys((torch.baddbmm, Tensor.baddbmm), _baddbmm),
    **RECURRENT,
}
