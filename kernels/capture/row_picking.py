"""Detect tensors whose rows were picked by the data, so that no rule takes them for equal shares of the samples.

A layer that runs on ``x[mask]`` (a mixture's expert, a gate, an early exit) sees any number of rows from any sample.
On a few probe samples these can look like the same number from each, in order, and a later batch would then be
contracted wrongly without any warning. Such layers belong to the generic fallback. So do those that run on sorted
samples, whose order the first samples may happen to have, and on packed sequences, which hold any number of rows each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

_PICKING = {
    torch.nonzero,
    Tensor.nonzero,
    torch.argwhere,
    Tensor.argwhere,
    torch.masked_select,
    Tensor.masked_select,
    torch.unique,
    Tensor.unique,
}
_PACKING = {torch._VF._pack_padded_sequence}
_UNPACKING = {torch._VF._pad_packed_sequence}
_RECURRENT = {torch.lstm, torch.gru, torch.rnn_tanh, torch.rnn_relu}
_ORDERING = {torch.sort, Tensor.sort, torch.argsort, Tensor.argsort, torch.topk, Tensor.topk, torch.randperm}
_INDEXING = {Tensor.__getitem__, torch.index_select, Tensor.index_select}
_PUTTING = {
    Tensor.__setitem__,
    Tensor.index_add,
    Tensor.index_add_,
    Tensor.index_copy,
    Tensor.index_copy_,
    Tensor.index_put,
    Tensor.index_put_,
    Tensor.scatter_add,
    Tensor.scatter_add_,
    Tensor.masked_scatter,
    Tensor.masked_scatter_,
    torch.index_add,
    torch.index_copy,
    torch.index_put,
    torch.scatter_add,
    torch.masked_scatter,
}
_FIRST = _PICKING | _PACKING | _ORDERING | {torch.where, Tensor.__getitem__}
# What is asked of a tensor without reading its numbers, half of all calls of a model.
ASKED = {Tensor.size, Tensor.dim, Tensor.numel, Tensor.stride, Tensor.is_contiguous, Tensor.is_floating_point}
ASKED |= {
    getattr(Tensor, name).__get__
    for name in ("shape", "dtype", "device", "ndim", "requires_grad", "layout", "is_sparse", "is_nested", "is_cuda")
}
_SHAPING = {torch.reshape, Tensor.reshape, Tensor.view, torch.unflatten, Tensor.unflatten}


class RowPicks:
    """Marks of one forward pass.

    Parameters
    ----------
    batch : int
        Number of samples.
    """

    def __init__(self, batch: int) -> None:
        self._batch = batch
        self._picked: Any = WeakTensorKeyDictionary()  # what made the rows others: "data", "order", "packed"
        self._orders: Any = WeakTensorKeyDictionary()
        self._marked = False
        self.routed = False

    def among(self, tensors: Sequence[Tensor]) -> bool:
        """Whether the rows of one of these tensors were picked by the data."""
        return self._marked and any(x in self._picked for x in tensors)

    def follow(self, func: Any, args: tuple[Any, ...], read: Sequence[Tensor], made: Sequence[Tensor]) -> None:
        """Mark what a torch operation ``func`` made out of the tensors that it read.

        Rows that are put back into a whole tensor, or reshaped to one row per sample, are whole again.
        """
        if not self._marked and func not in _FIRST:
            return
        ordered = self._follow_orders(func, args, read, made)
        if func in _PUTTING and not self.among(read[:1]):
            return
        why: set[str] = set().union(*(self._picked.get(x, ()) for x in read)) if self._marked else set()
        if self._picks(func, args):
            why.add("data")
            self.routed = True
        if ordered:
            why.add("order")
        if func in _PACKING:
            why.add("packed")
        if func in _UNPACKING:
            why.discard("packed")
        if not why or func in _SHAPING and made[0].shape[:1] == (self._batch,) and why == {"data"}:
            return
        states = why - {"packed"}  # the final states of a packed sequence are one per sample again
        for index, out in enumerate(made):
            kinds = states if func in _RECURRENT and index else why
            if kinds:
                self._marked = True
                self._picked[out] = frozenset(kinds)

    def _follow_orders(self, func: Any, args: tuple[Any, ...], read: Sequence[Tensor], made: Sequence[Tensor]) -> bool:
        """Follow orders of samples; tell whether the operation puts rows into one."""
        orders = func in _ORDERING or self._marked and any(x in self._orders for x in read)
        if not orders:
            return False
        rows = [out for out in made if not (out.ndim == 1 and not out.is_floating_point())]
        for out in made:
            if out.ndim == 1 and not out.is_floating_point():
                self._marked = True
                self._orders[out] = True
        return func in _INDEXING and bool(rows)

    @staticmethod
    def _picks(func: Any, args: tuple[Any, ...]) -> bool:
        if func is torch.where:
            return len(args) == 1
        if func is Tensor.__getitem__:
            index = args[1] if isinstance(args[1], tuple) else (args[1],)
            return any(isinstance(part, Tensor) and part.dtype == torch.bool and part.ndim > 0 for part in index)
        return func in _PICKING
