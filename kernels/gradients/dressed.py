r"""Per-sample gradients from the generic route in the form of the block that they replace.

Whoever sums, multiplies or sketches blocks expects the same types from every batch. Any gradient can be written in the
factored form: with one position per input, :math:`a_i = e_i` and :math:`\delta_i = G e_i`, :math:`\sum_i \delta_i
a_i^T = G`; one more position with :math:`a = 0` makes the bias come out right.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kernels.gradients.blocks import Block, OuterBlock, Role, TiedBlock, TokenBlock, VectorBlock


def dressed(block: Block, gradients: dict[str, Tensor]) -> Block:
    """Replace a block by one of its form that holds other gradients.

    Parameters
    ----------
    block : Block
        Of a batch.
    gradients : dict of str to Tensor, shape (B, R, D)
        Flattened gradients of every parameter that the block covers.

    Examples
    --------
    >>> import torch
    >>> from kernels.gradients import OuterBlock
    >>> from kernels.gradients.dressed import dressed
    >>> block = OuterBlock("weight", torch.Size([1, 2]), torch.ones(1, 1, 1, 1), torch.ones(1, 1, 2))
    >>> dressed(block, {"weight": torch.tensor([[[3.0, 4.0]]])}).gradients()["weight"]
    tensor([[[[3., 4.]]]])
    """
    if isinstance(block, TiedBlock):
        return TiedBlock(block.weight, block.shape, (VectorBlock(block.weight, block.shape, gradients[block.weight]),))
    parts = {block.weight: _within(block, gradients[block.weight], block.shape)}
    if isinstance(block, OuterBlock) and block.bias is not None:
        bias = gradients[block.bias]
        parts[block.bias] = _rows(bias, block.bias_shape, block.bias_rows)
    return _role(block, parts)


def _within(block: Role, whole: Tensor, shape: torch.Size) -> Tensor:
    return _rows(whole, shape, getattr(block, "rows", None))


def _rows(whole: Tensor, shape: torch.Size, rows: tuple[int, int] | None) -> Tensor:
    if rows is None:
        return whole
    return whole.reshape(*whole.shape[:2], *shape)[:, :, rows[0] : rows[1]].flatten(2)


def _role(block: Role, gradients: dict[str, Tensor]) -> Role:
    values = gradients[block.weight]
    batch, cotangents = values.shape[:2]
    if isinstance(block, VectorBlock):
        return VectorBlock(block.weight, block.shape, values, block.rows, block.origin)
    if isinstance(block, TokenBlock):
        ids = torch.arange(block.shape[0], device=values.device).expand(batch, -1)
        return TokenBlock(block.weight, block.shape, ids, values.reshape(batch, cotangents, *block.shape[:1], -1))
    groups, width = block.groups, block.delta.shape[3] // block.groups
    matrix = values.reshape(batch, cotangents, groups, *((-1, width) if block.transposed else (width, -1)))
    delta = (matrix if block.transposed else matrix.mT).transpose(2, 3).flatten(3)  # (B, R, I, g * O)
    fan = delta.shape[2]
    inputs = torch.eye(fan, dtype=values.dtype, device=values.device).repeat(1, groups)
    if block.bias is not None:
        rest = gradients[block.bias] / block.bias_scale - delta.sum(2)
        delta = torch.cat([delta, rest.unsqueeze(2)], 2)
        inputs = torch.cat([inputs, inputs.new_zeros(1, groups * fan)])
    return OuterBlock(
        block.weight,
        block.shape,
        delta,
        inputs.expand(batch, -1, -1),
        groups,
        block.transposed,
        block.rows,
        block.bias,
        block.bias_scale,
        block.bias_shape,
        block.bias_rows,
    )
