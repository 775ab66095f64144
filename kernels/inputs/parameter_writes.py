"""Notice what a forward pass writes into parameters, so that their values can be put back.

Some layers keep their weights within bounds where they are read: ``self.weight.data.clamp_(0)``, or a division by the
norm under ``torch.no_grad()``. Outside of training nobody asked for that change. A write through ``.data`` leaves no
version behind, so operations are watched while they run, in the first pass of a loan only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

Memory = dict[int, tuple[torch.UntypedStorage, torch.UntypedStorage]]
"""Memory of parameters and a copy of what it held, by address."""


class ParameterWrites(TorchDispatchMode):
    """Copies the memory of a parameter before the first operation that writes into it.

    Parameters
    ----------
    parameters : iterable of Tensor
        The user's.

    Attributes
    ----------
    found : dict
        Memory that was written to, with a copy of what it held, by address.
    """

    def __init__(self, parameters: Iterable[Tensor]) -> None:
        super().__init__()
        with torch._C.DisableTorchFunction():  # a mode would be told of every question about a parameter
            held = (p.untyped_storage() for p in parameters if p.layout == torch.strided and p.numel())
            self._memory = {one.data_ptr(): one for one in held}
        self.found: Memory = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation, after a copy of what it will write to."""
        kwargs = kwargs or {}
        if _is_mutable(func):
            for tensor in _written(func._schema, args, kwargs):
                address = tensor.untyped_storage().data_ptr() if tensor.layout == torch.strided else 0
                if address in self._memory and address not in self.found:
                    self.found[address] = (self._memory[address], self._memory[address].clone())
        return func(*args, **kwargs)


@lru_cache(maxsize=4096)
def _is_mutable(func: Any) -> bool:
    return bool(func._schema.is_mutable)


def put_back(memory: Memory) -> None:
    """Write the copies back; no version changes, as if nothing had happened."""
    for own, copy in memory.values():
        own.copy_(copy)


def _written(schema: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[Tensor]:
    for at, argument in enumerate(schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            value = args[at] if at < len(args) else kwargs.get(argument.name)
            for one in value if isinstance(value, list | tuple) else [value]:
                if isinstance(one, Tensor):
                    yield one
