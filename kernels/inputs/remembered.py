"""Tensors that a model remembers from an earlier forward pass, with the graph by which they were computed.

A weight that ``forward`` derives from parameters once and keeps, such as an exponential in an attribute, leads autograd
to these parameters through the graph of the pass that made it. That graph is gone after one backward pass, and a kernel
takes many: read again, such a tensor would be a constant and its parameters would lose their gradient without a word.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize


class Remembered:
    """Marks copies of remembered tensors, and finds out whether an output was computed from one.

    Examples
    --------
    >>> import torch
    >>> from kernels.inputs.remembered import Remembered
    >>> model = torch.nn.Linear(2, 1)
    >>> model.scale = model.weight.exp()
    >>> remembered = Remembered()
    >>> model.scale = remembered.marked(model.scale, model.scale.detach().clone())
    >>> remembered.require_unread(model, model(torch.ones(1, 2)))
    >>> remembered.require_unread(model, model.scale.sum())  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    ValueError: scale of the model was computed with gradients by an earlier forward pass, and this one reads it: ...
    """

    def __init__(self) -> None:
        self._sources: dict[int, Tensor] = {}  # by the user's tensor

    def marked(self, theirs: Tensor, ours: Tensor) -> Tensor:
        """Return ``ours`` in such a way that what is computed from it shows it; it may be written to."""
        if not ours.is_floating_point():
            return ours
        with torch.inference_mode(False), torch.enable_grad():
            source = self._sources[id(theirs)] = ours.requires_grad_()
            return source.clone()

    def require_unread(self, model: nn.Module, result: Any) -> None:
        """Refuse a result of the model that depends on one of these tensors.

        Raises
        ------
        ValueError
            With the name of the attribute.
        """
        if not self._sources or not isinstance(result, Tensor) or not result.requires_grad:
            return
        by_source = {id(source): source for source in self._sources.values()}
        reached = [by_source[key] for key in _leaves(result) if key in by_source]
        if reached:
            found = torch.autograd.grad(result.sum(), reached, retain_graph=True, allow_unused=True)
            read = [source for source, part in zip(reached, found, strict=True) if part is not None and part.any()]
            if read:
                raise ValueError(
                    f"{_name(model, read[0])} of the model was computed with gradients by an earlier forward pass, and "
                    "this one reads it: the gradient of the parameters behind it would be lost; set it back, as to "
                    "None, so that forward() computes it again, or detach it where it is a constant"
                )


def _leaves(result: Tensor) -> Iterator[int]:
    """Identities of the leaves of a graph."""
    seen: set[Any] = set()
    waiting = [result.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            yield id(node.variable)
        waiting.extend(following for following, _ in node.next_functions)


def _name(model: nn.Module, source: Tensor) -> str:
    """Find the attribute that holds the copy of a remembered tensor."""
    for prefix, module in model.named_modules():
        for container in (module.__dict__, module._buffers):
            for key, value in container.items():
                within = (
                    value.values()
                    if isinstance(value, dict)
                    else value
                    if isinstance(value, (list, tuple))
                    else [value]
                )
                for one in within:
                    if isinstance(one, Tensor) and one.grad_fn is not None:
                        if any(getattr(node, "variable", None) is source for node, _ in one.grad_fn.next_functions):
                            return f"{prefix}.{key}".lstrip(".")
    return "a tensor"


@contextmanager
def weights_not_cached() -> Iterator[None]:
    """Compute parametrized weights in every forward pass, also inside ``torch.nn.utils.parametrize.cached()``."""
    state: Any = parametrize
    enabled, cache = state._cache_enabled, state._cache
    if not enabled:
        yield
        return
    state._cache_enabled, state._cache = 0, {}
    try:
        yield
    finally:
        state._cache_enabled, state._cache = enabled, cache
