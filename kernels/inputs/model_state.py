"""What a model holds besides the values of its parameters: modes, flags, hooks, attributes, buffers, gradients."""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque
from collections.abc import Iterator
from operator import is_
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

OF_TORCH = frozenset(vars(nn.Module()))  # what every module has; the rest are a model's own attributes
_CONTAINERS = (dict, OrderedDict, defaultdict, list, set, deque)


class ModelState:
    """What a model holds besides the values of its parameters, so that it can be put back."""

    def __init__(self, model: nn.Module) -> None:
        self.modules = [(module, dict(module.__dict__)) for module in model.modules()]
        self._of_torch: dict[int, tuple[Any, Any]] = {}
        self._own: dict[int, tuple[Any, Any]] = {}
        for _, attributes in self.modules:
            for key, value in attributes.items():
                known = self._of_torch if key in OF_TORCH and key != "_buffers" else self._own
                _keep_inside(known, value, 2 if known is self._own else 0)
        self._slotted = [(module, dict(_slot_values(module))) for module, _ in self.modules]
        self._others: list[tuple[Any, str, Any]] = []
        self._values: list[tuple[Tensor, Tensor]] = []
        self._parameters = [(p, p.detach(), p.requires_grad, p.grad) for p in model.parameters() if not is_lazy(p)]
        for p, _, _, grad in self._parameters:
            if grad is not None:
                p.grad = None  # so that nothing is added to it

    def keep_values(self, tensor: Tensor) -> None:
        """Put the values of a tensor back as well."""
        self._values.append((tensor, tensor.detach()))

    def keep_attribute(self, other: Any, name: str) -> None:
        """Put an attribute of an object that is no module back as well."""
        if name in getattr(other, "__dict__", {}):
            self._others.append((other, name, other.__dict__[name]))

    def adopt_flags(self) -> None:
        """Keep the flags, numbers and strings that modules have now."""
        for module, attributes in self.modules:
            for key, value in module.__dict__.items():
                if key not in OF_TORCH and isinstance(value, (bool, int, float, str)):
                    attributes[key] = value

    def restore_own(self) -> None:
        """Put plain attributes and buffers back."""
        for module, attributes in self.modules:
            now = module.__dict__
            if len(now) != len(attributes) or not all(map(is_, now.values(), attributes.values())):
                now.clear()
                now.update(attributes)
        for container, content in self._own.values():
            _put_back(container, content)
        for module, values in self._slotted:
            for name, value in values.items():
                object.__setattr__(module, name, value)

    def restore(self) -> None:
        """Put everything back."""
        self.restore_own()
        for container, content in self._of_torch.values():
            _put_back(container, content)
        for other, name, value in self._others:
            other.__dict__[name] = value
        for tensor, values in self._values:
            tensor.data = values
        for p, values, flag, grad in self._parameters:
            if not _same_memory(p, values):
                p.data = values
            p.requires_grad_(flag)
            if p.grad is not grad:
                p.grad = grad


def _keep_inside(known: dict[int, tuple[Any, Any]], value: Any, depth: int) -> None:
    if type(value) not in _CONTAINERS or id(value) in known:
        return
    known[id(value)] = (value, value.copy())
    if depth:
        for one in value.values() if isinstance(value, dict) else value:
            _keep_inside(known, one, depth - 1)


def _put_back(container: Any, content: Any) -> None:
    if len(container) == len(content):
        if isinstance(content, dict):
            if all(map(is_, container, content)) and all(map(is_, container.values(), content.values())):
                return
        elif all(map(is_, container, content)):
            return
    container.clear()
    container.extend(content) if isinstance(content, (list, deque)) else container.update(content)


def _slot_values(module: nn.Module) -> Iterator[tuple[str, Any]]:
    """Attributes of a class with ``__slots__``."""
    for kind in type(module).__mro__:
        names = kind.__dict__.get("__slots__", ())
        for name in (names,) if isinstance(names, str) else names:
            if name not in ("__dict__", "__weakref__"):
                try:
                    yield name, object.__getattribute__(module, name)
                except AttributeError:  # not set
                    continue


def _same_memory(left: Tensor, right: Tensor) -> bool:
    if (left.dtype, left.device, left.shape, left.layout) != (right.dtype, right.device, right.shape, right.layout):
        return False
    return left.layout != torch.strided or left.data_ptr() == right.data_ptr()
