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
from jaxtyping import Float
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from kernels.gradients.blocks import OuterBlock, Role, Roles, VectorBlock

_ELSEWHERE = ("detach", "data", "expand", "repeat")  # constants, and what usually spreads a tensor over the samples
_OUT_OF_PLACE: dict[Any, Any] = {
    getattr(Tensor, name): plain
    for names, plain in (
        (("add_", "__iadd__"), torch.add),
        (("sub_", "__isub__"), torch.sub),
        (("mul_", "__imul__"), torch.mul),
        (("div_", "__itruediv__", "__idiv__"), torch.div),
    )
    for name in names
}
"""Operations that write into their first argument, and how the tape replays them."""
_IN_PLACE = ("__setitem__", "__iadd__", "__isub__", "__imul__", "__idiv__", "__itruediv__", "__ipow__", "__imod__")


class Tape:
    """Record of what one forward pass computes from some parameters alone, before any sample enters.

    Parameters
    ----------
    parameters : dict of str to Tensor
        Those whose derived tensors are followed; with none of them the tape does nothing.
    inputs : iterable of Tensor
        The batch; nothing computed from it is a constant.
    marks : bool
        Say which tensors hold samples, although no parameter is followed.
    """

    def __init__(self, parameters: dict[str, Tensor], inputs: Iterable[Tensor], *, marks: bool = False) -> None:
        self._parameters, self.marks = parameters, marks or bool(parameters)
        self._owners: dict[int, set[str]] = {id(p): {name} for name, p in parameters.items()}
        self._steps: list[tuple[Any, Any, Any, list[Tensor]]] = []
        self._named: dict[str, Tensor] = {}
        self._sampled: Any = WeakTensorKeyDictionary()
        if self.marks:
            for x in inputs:
                self._sampled[x] = True

    def follow(self, args: tuple[Any, ...], read: Sequence[Tensor], made: Sequence[Tensor]) -> None:
        """Mark what an operation computed from samples; one that returns nothing wrote into its first argument."""
        if self.marks and any(map(self.sampled, read)):
            for out in made or [x for x in args[:1] if isinstance(x, Tensor)]:
                self._sampled[out] = True

    def sampled(self, tensor: Tensor) -> bool:
        """Whether a tensor was computed from samples, where the tape marks them."""
        return tensor.requires_grad or tensor in self._sampled

    def takes(self, func: Any, label: str, args: tuple[Any, ...], read: Sequence[Tensor]) -> bool:
        """Whether an operation reads followed parameters, and besides them constants only."""
        if not self._parameters or label in _ELSEWHERE:
            return False
        if writes(label) and (func not in _OUT_OF_PLACE or any(args[0] is p for p in self._parameters.values())):
            return False  # the tape could not be replayed
        return any(id(x) in self._owners for x in read) and not any(map(self.sampled, read))

    def before(self, func: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """Arguments of an operation to be recorded, with a copy of a constant that it writes into."""
        written = func in _OUT_OF_PLACE and id(args[0]) not in self._owners
        return (args[0].clone(), *args[1:]) if written else args

    def record(self, func: Any, args: Any, kwargs: Any, read: Sequence[Tensor], made: Sequence[Tensor]) -> None:
        """Write down one operation."""
        owners = set().union(*(self._owners.get(id(x), set()) for x in read))
        self._steps.append((_OUT_OF_PLACE.get(func, func), args, kwargs, list(made)))
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
        owners = sorted(set().union(*map(self.owners, names)))
        chosen = {n: self._parameters[n].detach().requires_grad_() for n in owners}
        with torch.enable_grad():
            derived = self._play(names)(chosen)
        lead = outer[0].shape[:2]
        found = pulled_back(derived, list(chosen.values()), [rows.flatten(0, 1) for rows in outer])
        for name, values in zip(chosen, found, strict=True):
            block = VectorBlock(name, self._parameters[name].shape, values.reshape(*lead, -1))
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
                fresh = func(*replaced_in(args, now), **replaced_in(kwargs, now))
                for old, new in zip(made, tensors_in(fresh), strict=True):
                    now[id(old)] = new
            return tuple(now[id(self._named[name])] for name in names)

        return derived


def pulled_back(
    results: Sequence[Tensor], leaves: Sequence[Tensor], rows: Sequence[Float[Tensor, "m ..."]]
) -> list[Float[Tensor, "m ..."]]:
    """Pull m cotangents of results back to leaves: all at once, or where torch cannot, one after another."""
    kept = [(result, row) for result, row in zip(results, rows, strict=True) if result.requires_grad]
    count = len(rows[0])
    if not kept:
        return [leaf.new_zeros(count, *leaf.shape) for leaf in leaves]
    ends, starts = zip(*kept, strict=True)
    found: Sequence[Tensor | None]
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="There is a performance drop")
            found = torch.autograd.grad(
                ends, leaves, starts, retain_graph=True, allow_unused=True, is_grads_batched=True
            )
    except (RuntimeError, ValueError, TypeError, NotImplementedError):  # an operation without a batching rule
        each = [
            torch.autograd.grad(ends, leaves, [row[n] for row in starts], retain_graph=True, allow_unused=True)
            for n in range(count)
        ]
        found = [
            None if parts[0] is None else torch.stack([part.to_dense() for part in parts])
            for parts in zip(*each, strict=True)
        ]
    return [
        leaf.new_zeros(count, *leaf.shape) if values is None else values.detach()
        for leaf, values in zip(leaves, found, strict=True)
    ]


def writes(label: str) -> bool:
    """Whether an operation of this name writes into its first argument."""
    return label in _IN_PLACE or label.endswith("_") and not label.endswith("__")


def tensors_in(nested: Any) -> list[Tensor]:
    """All tensors of nested lists, tuples and dictionaries, in order."""
    if isinstance(nested, Tensor):
        return [nested]
    found: list[Tensor] = []
    if isinstance(nested, (list, tuple, dict)):
        for value in nested.values() if isinstance(nested, dict) else nested:
            if isinstance(value, Tensor):
                found.append(value)
            elif isinstance(value, (list, tuple, dict)):
                found += tensors_in(value)
    return found


def replaced_in(nested: Any, now: dict[int, Tensor]) -> Any:
    """Nested lists, tuples and dictionaries with other tensors, by identity, in place of some."""
    if isinstance(nested, Tensor):
        return now.get(id(nested), nested)
    if isinstance(nested, dict):
        return {key: replaced_in(value, now) for key, value in nested.items()}
    if isinstance(nested, (list, tuple)):
        return type(nested)(replaced_in(value, now) for value in nested)
    return nested
