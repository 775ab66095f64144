"""Blocks of a pass in the form that the first pass had: what a pass does not use is zero, what differs is dressed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from kernels.gradients.blocks import Block, ConvBlock, TiedBlock, TokenBlock, VectorBlock
from kernels.gradients.dressed import dressed


def in_form(
    blocks: list[Block], forms: Sequence[Block], given: Mapping[str, Tensor], rows: Float[Tensor, "b r k"]
) -> list[Block]:
    """Give every form one block of this pass.

    Parameters
    ----------
    blocks : list of Block
        What the pass has, in any form; parameters that it did not use have none.
    forms : sequence of Block
        The blocks to give, in order; their numbers are not read.
    given : mapping of str to Tensor, shape (B, R, D)
        Flattened gradients that replace those of the blocks.
    rows : Tensor, shape (B, R, k)
        Cotangents of the pass.

    Examples
    --------
    >>> import torch
    >>> from kernels.gradients import VectorBlock
    >>> from kernels.gradients.in_form import in_form
    >>> form = VectorBlock("gain", torch.Size([2]), torch.empty(1, 1, 2, device="meta"))
    >>> in_form([], [form], {}, torch.ones(1, 1, 3))[0].values  # the pass does not use it
    tensor([[[0., 0.]]])
    """
    if not given and len(blocks) == len(forms) and all(map(_alike, blocks, forms)):
        return blocks
    left, found = list(blocks), list[Block | None]()
    for form in forms:
        own = next((i for i, block in enumerate(left) if _alike(block, form)), None)
        found.append(None if own is None or given.keys() & set(form.names) else left.pop(own))
    sums: dict[str, Tensor] = {}
    for block in left:
        for name, values in block.gradients().items():
            sums[name] = sums[name] + values if name in sums else values
    whole = {name: values.reshape(*rows.shape[:2], -1) for name, values in sums.items()} | dict(given)
    for index, form in enumerate(forms):
        if found[index] is None and not whole.keys() & set(form.names):
            found[index] = _zero(form, rows)
        elif found[index] is None:
            sizes = {form.weight: form.shape, getattr(form, "bias", None): getattr(form, "bias_shape", torch.Size())}
            empty = {n: rows.new_zeros(*rows.shape[:2], sizes[n].numel()) for n in form.names if n not in whole}
            found[index] = dressed(form, {name: (whole | empty)[name] for name in form.names})
    return [block for block in found if block is not None]


def _alike(block: Block, form: Block) -> bool:
    ours, theirs = (getattr(one, "rows", None) for one in (block, form))
    return type(block) is type(form) and block.names == form.names and ours == theirs


def _zero(form: Any, rows: Float[Tensor, "b r k"]) -> Any:
    """Gradients of zero, in as little memory as the form allows."""
    batch, cotangents = rows.shape[:2]
    if isinstance(form, TiedBlock):
        return replace(form, roles=tuple(_zero(role, rows) for role in form.roles))
    if isinstance(form, VectorBlock):
        return replace(form, values=rows.new_zeros(batch, cotangents, form.values.shape[2]))
    positions = form.delta.shape[2] if isinstance(form, ConvBlock) else 1
    delta = rows.new_zeros(batch, cotangents, positions, form.delta.shape[3])
    if isinstance(form, TokenBlock):
        return replace(form, ids=torch.full((batch, 1), -1, device=rows.device), delta=delta)
    extents = form.inputs.shape[1:] if isinstance(form, ConvBlock) else (1, form.inputs.shape[2])
    return replace(form, delta=delta, inputs=rows.new_zeros(batch, *extents))


def outline(block: Any) -> Any:
    """Keep the form of a block without its numbers."""
    if isinstance(block, TiedBlock):
        return replace(block, roles=tuple(map(outline, block.roles)))
    empty = {name: value.to("meta") for name, value in vars(block).items() if isinstance(value, Tensor)}
    return replace(block, **{name: value for name, value in empty.items() if not name.startswith("_")})


def unread_form(name: str, parameter: nn.Parameter) -> Block:
    """Form of a parameter that no sample has read yet, which costs next to nothing while that is so."""
    if parameter.ndim == 0:
        return VectorBlock(name, parameter.shape, parameter.new_empty(1, 1, 1, device="meta"))
    delta = parameter.new_empty(1, 1, 0, parameter[0].numel(), device="meta")
    return TokenBlock(name, parameter.shape, torch.empty(1, 0, dtype=torch.int64, device="meta"), delta)
