"""Gradient hooks on parameters (``register_hook``) belong to what autograd gives: each sample's gradient goes through.

Hooks that run after accumulation change no gradient and are not called.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from kernels.gradients.blocks import Block, OuterBlock, VectorBlock


def through_hooks(blocks: Sequence[Block], parameters: Mapping[str, Tensor]) -> list[Block]:
    """Send the gradients of parameters with hooks through these, one sample and one cotangent at a time.

    Parameters
    ----------
    blocks : sequence of Block
        Of a batch.
    parameters : mapping of str to Parameter
        With their hooks.

    Examples
    --------
    >>> import torch
    >>> from kernels.gradients import VectorBlock
    >>> from kernels.gradients.hooks import through_hooks
    >>> gain = torch.nn.Parameter(torch.zeros(2))
    >>> handle = gain.register_hook(lambda gradient: 3 * gradient)
    >>> block = VectorBlock("gain", gain.shape, torch.tensor([[[1.0, 2.0]]]))
    >>> through_hooks([block], {"gain": gain})[0].values
    tensor([[[3., 6.]]])
    """
    hooked = {name: p for name, p in parameters.items() if p._backward_hooks}
    if not any(hooked.keys() & set(block.names) for block in blocks):
        return list(blocks)
    found: list[Block] = []
    sums: dict[str, Tensor] = {}
    for block in blocks:
        names = hooked.keys() & set(block.names)
        if not names:
            found.append(block)
            continue
        whole = block.gradients()
        for name in names:
            sums[name] = sums[name] + whole[name] if name in sums else whole[name]
        if isinstance(block, OuterBlock) and block.weight not in names:
            found.append(replace(block, bias=None))
        elif isinstance(block, OuterBlock) and block.bias is not None and block.bias not in names:
            found.append(VectorBlock(block.bias, block.bias_shape, block.bias_vector(), block.bias_rows))
    return found + [
        VectorBlock(name, hooked[name].shape, _hooked(hooked[name], values)) for name, values in sums.items()
    ]


def changes_gradients(parameter: Tensor) -> bool:
    """Whether hooks give another tensor than the gradient that they get, or write into it."""
    gradient = torch.ones_like(parameter, requires_grad=False)
    given = gradient.clone()
    with torch.no_grad():
        answers = [hook(gradient) for hook in (parameter._backward_hooks or {}).values()]
    return any(one is not None and one is not gradient for one in answers) or not torch.equal(gradient, given)


def _hooked(parameter: Tensor, values: Tensor) -> Tensor:
    hooks = list((parameter._backward_hooks or {}).values())
    rows = []
    with torch.no_grad():
        for row in values.flatten(0, 1):
            gradient = row.reshape(parameter.shape).clone()  # a hook may write into it
            for hook in hooks:
                changed = hook(gradient)
                gradient = gradient if changed is None else changed
            rows.append(gradient.to(values.dtype).flatten())
    return torch.stack(rows).reshape(*values.shape[:2], -1)
