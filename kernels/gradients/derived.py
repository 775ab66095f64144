r"""Tensors that a forward pass computes from parameters alone, and the chain rule from them to the parameters.

Relative position tables, normed, standardized or merged weights and ``1 + gain`` reach the samples through such a
tensor :math:`w = h(\theta)`. A rule gives the per-sample gradient of :math:`w` as it gives a parameter's;
:math:`\partial h` is one small graph that no sample enters, so it is pulled back once for all samples and cotangents
instead of differentiating the whole model per sample.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.func import vjp, vmap
from torch.utils.weak import WeakTensorKeyDictionary

from kernels.gradients.blocks import OuterBlock, Role, Roles, VectorBlock

_ELSEWHERE = ("detach", "data", "expand", "repeat")  # constants, and what usually spreads a tensor over the samples


class Tape:
    """Record of what one forward pass computes from some parameters alone, before any sample enters.

    Parameters
    ----------
    parameters : dict of str to Tensor
        Those whose derived tensors are followed; with none of them the tape does nothing.
    inputs : iterable of Tensor
        The batch; nothing computed from it is a constant.
    """

    def __init__(self, parameters: dict[str, Tensor], inputs: Iterable[Tensor]) -> None:
        self._parameters = parameters
        self._owners: dict[int, set[str]] = {id(p): {name} for name, p in parameters.items()}
        self._steps: list[tuple[Any, Any, Any, list[Tensor]]] = []
        self._named: dict[str, Tensor] = {}
        self._sampled: Any = WeakTensorKeyDictionary()
        if parameters:
            for x in inputs:
                self._sampled[x] = True

    def follow(self, args: tuple[Any, ...], read: Sequence[Tensor], made: Sequence[Tensor]) -> None:
        """Mark what an operation computed from samples; one that returns nothing wrote into its first argument."""
        if self._parameters and any(x.requires_grad or x in self._sampled for x in read):
            for out in made or [x for x in args[:1] if isinstance(x, Tensor)]:
                self._sampled[out] = True

    def takes(self, label: str, read: Sequence[Tensor]) -> bool:
        """Whether an operation reads followed parameters, and besides them constants only."""
        if not self._parameters or label in _ELSEWHERE:
            return False
        if label.endswith("_") and (not label.endswith("__") or label in ("__setitem__", "__iadd__", "__imul__")):
            return False  # written in place: the tape could not be replayed
        return any(id(x) in self._owners for x in read) and not any(x.requires_grad or x in self._sampled for x in read)

    def record(self, func: Any, args: Any, kwargs: Any, read: Sequence[Tensor], made: Sequence[Tensor]) -> None:
        """Write down one operation."""
        owners = set().union(*(self._owners.get(id(x), set()) for x in read))
        self._steps.append((func, args, kwargs, list(made)))
        for out in made:
            self._owners[id(out)] = owners

    def holds(self, tensor: Tensor) -> bool:
        """Whether a tensor was computed by a recorded operation."""
        return id(tensor) in self._owners

    def name(self, tensor: Tensor, label: str) -> str:
        """Name a derived tensor after its operation and the parameters behind it, the same in every batch."""
        stem = f"{label} of {', '.join(sorted(self._owners[id(tensor)]))}"
        name = f"{stem} ({sum(known.startswith(stem) for known in self._named)})"
        self._named[name] = tensor
        return name

    def owners(self, name: str) -> set[str]:
        """Parameters behind a name: itself, or those that the derived tensor was computed from."""
        return self._owners[id(self._named[name])] if name in self._named else {name}

    def resolve(self, roles: Roles) -> Roles:
        """Replace the blocks of derived tensors by gradients of the parameters behind them."""
        if not self._named:
            return roles
        roles = self._apart(roles)
        names = [name for name in roles if name in self._named]
        if not names:
            return roles
        outer = [self._gradient(name, roles.pop(name)) for name in names]
        chosen = {n: self._parameters[n].detach() for n in sorted(set().union(*map(self.owners, names)))}
        pull = vjp(self._play(names), chosen)[1]
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="There is a performance drop")
            found = vmap(vmap(lambda *rows: pull(rows)[0]))(*outer)
        for name, values in found.items():
            block = VectorBlock(name, self._parameters[name].shape, values.reshape(*values.shape[:2], -1))
            roles.setdefault(name, []).append(block)
        return roles

    def _apart(self, roles: Roles) -> Roles:
        """Give a bias a role of its own where it or its weight is derived."""
        apart: Roles = {name: list(blocks) for name, blocks in roles.items()}
        for blocks in roles.values():
            for block in blocks:
                if isinstance(block, OuterBlock) and block.bias and {block.weight, block.bias} & self._named.keys():
                    vector = VectorBlock(block.bias, block.bias_shape, block.bias_vector(), block.bias_rows)
                    apart.setdefault(block.bias, []).append(vector)
                    block.bias = None
        return apart

    def _gradient(self, name: str, blocks: list[Role]) -> Tensor:
        """(B, R, *shape) gradient of a derived tensor, in its own type."""
        total = torch.stack([block.gradients()[name] for block in blocks]).sum(0)
        return total.to(self._named[name].dtype)

    def _play(self, names: list[str]) -> Callable[[dict[str, Tensor]], tuple[Tensor, ...]]:
        def derived(values: dict[str, Tensor]) -> tuple[Tensor, ...]:
            now = {id(self._parameters[name]): value for name, value in values.items()}
            for func, args, kwargs, made in self._steps:
                fresh = func(*_replaced(args, now), **_replaced(kwargs, now))
                for old, new in zip(made, tensors_in(fresh), strict=True):
                    now[id(old)] = new
            return tuple(now[id(self._named[name])] for name in names)

        return derived


def tensors_in(nested: Any) -> list[Tensor]:
    """All tensors of nested lists, tuples and dictionaries, in order."""
    if isinstance(nested, Tensor):
        return [nested]
    if isinstance(nested, dict):
        return [x for value in nested.values() for x in tensors_in(value)]
    if isinstance(nested, (list, tuple)):
        return [x for value in nested for x in tensors_in(value)]
    return []


def _replaced(nested: Any, now: dict[int, Tensor]) -> Any:
    if isinstance(nested, Tensor):
        return now.get(id(nested), nested)
    if isinstance(nested, dict):
        return {key: _replaced(value, now) for key, value in nested.items()}
    if isinstance(nested, (list, tuple)):
        return type(nested)(_replaced(value, now) for value in nested)
    return nested
