"""Join the roles that one parameter plays into a single block.

A tensor's gradient is the sum over everything that reads it. Uses of the same kind are joined along positions, so the
factored form survives (a module used twice, two linear layers that share a weight); roles of different kinds become a
:class:`~kernels.gradients.blocks.TiedBlock`. Adding the roles' Gram matrices instead would lose the cross terms.
"""

from __future__ import annotations

import torch

from kernels.gradients.blocks import Block, OuterBlock, Role, TiedBlock, TokenBlock, VectorBlock


def merge_roles(roles: dict[str, list[Role]], order: list[str]) -> list[Block]:
    """One block per parameter, in the order of the parameters.

    Parameters
    ----------
    roles : dict of str to list of blocks
        Every block whose weight has that name; an outer block may carry a bias.
    order : list of str
        Parameter names; those without any role are left out.
    """
    _detach_shared_biases(roles)
    merged: list[Block] = []
    for name in order:
        if name in roles:
            merged += _join(roles.pop(name))
    return merged


def _detach_shared_biases(roles: dict[str, list[Role]]) -> None:
    """Leave a bias inside its weight's block only if that weight alone uses it, and always does."""
    owners: dict[str, set[str]] = {}
    for name, blocks in roles.items():
        for block in blocks:
            if isinstance(block, OuterBlock) and block.bias is not None:
                owners.setdefault(block.bias, set()).add(name)
    for bias, weights in owners.items():
        (weight, *others) = weights
        blocks = roles[weight]
        simple = not others and bias not in roles and len({_kind(block) for block in blocks}) == 1
        if simple and all(isinstance(b, OuterBlock) and b.bias == bias for b in blocks):
            continue
        for name in weights:
            for block in roles[name]:
                if isinstance(block, OuterBlock) and block.bias == bias:
                    vector = VectorBlock(bias, block.bias_shape, block.bias_vector(), block.bias_rows)
                    roles.setdefault(bias, []).append(vector)
                    block.bias = None


def _join(blocks: list[Role]) -> list[Block]:
    by_kind: dict[object, list[Role]] = {}
    for block in blocks:
        by_kind.setdefault(_kind(block), []).append(block)
    parts = [_concatenate(group) for group in by_kind.values()]
    if len(parts) == 1:
        return [*parts]
    spans = sorted(getattr(part, "rows", None) or (0, part.shape[0]) for part in parts)
    if all(end <= start for (_, end), (start, _) in zip(spans, spans[1:], strict=False)):
        return [*parts]  # disjoint slices of one parameter have no cross terms
    return [TiedBlock(blocks[0].weight, blocks[0].shape, tuple(parts))]


def _kind(block: Role) -> object:
    if isinstance(block, OuterBlock):
        extra = (block.groups, block.transposed, block.rows, block.bias_scale, block.bias, block.bias_rows)
        return ("outer", *extra)
    if isinstance(block, TokenBlock):
        return "token"
    return ("vector", block.rows)


def _concatenate(blocks: list[Role]) -> Role:
    first = blocks[0]
    if len(blocks) == 1:
        return first
    if isinstance(first, OuterBlock):
        outers = [block for block in blocks if isinstance(block, OuterBlock)]
        merged = OuterBlock(
            first.weight,
            first.shape,
            torch.cat([block.delta for block in outers], 2),
            torch.cat([block.a for block in outers], 1),
            groups=first.groups,
            transposed=first.transposed,
            rows=first.rows,
            bias=first.bias,
            bias_scale=first.bias_scale,
            bias_shape=first.bias_shape,
            bias_rows=first.bias_rows,
        )
        return merged
    if isinstance(first, TokenBlock):
        tokens = [block for block in blocks if isinstance(block, TokenBlock)]
        return TokenBlock(
            first.weight,
            first.shape,
            torch.cat([block.ids for block in tokens], 1),
            torch.cat([block.delta for block in tokens], 2),
        )
    vectors = [block for block in blocks if isinstance(block, VectorBlock)]
    return VectorBlock(first.weight, first.shape, torch.stack([b.values for b in vectors]).sum(0), first.rows)
