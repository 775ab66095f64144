"""Join the operands of consecutive batches in memory that is allocated once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from kernels.contraction.operands import Operand


@dataclass
class OperandBuffer:
    """One layer's operands of a row block of ``count`` samples, filled batch by batch.

    Where every sample has the same size, each batch is copied into its place and freed, so that the next one can reuse
    its memory; batches of unequal sizes are kept and joined at the end.
    """

    count: int
    _parts: list[Any] = field(default_factory=list)
    _place: Any = None
    _filled: int = 0

    def add(self, piece: Operand) -> None:
        """Add the operand of the next batch."""
        if not self._filled and piece.samples < self.count:
            self._place = piece.room(self.count)
        if self._place is not None and not self._copy(piece):
            filled = self._place.take(slice(0, self._filled))
            self._parts, self._place = [type(filled).concatenate([filled])], None  # a copy: the rest is freed
        if self._place is None:
            self._parts.append(piece)
        self._filled += piece.samples

    def joined(self) -> Any:
        """Return the operand of the whole row block and forget it."""
        parts, self._parts = self._parts, []
        if self._place is not None:
            parts, self._place = [self._place], None
        return parts[0] if len(parts) == 1 else type(parts[0]).concatenate(parts)

    def _copy(self, piece: Operand) -> bool:
        """Copy a batch into its place, if it fits there."""
        place = self._place.take(slice(self._filled, self._filled + piece.samples))
        ours, theirs = vars(place), vars(piece)
        for name, value in theirs.items():
            if isinstance(value, Tensor) and value.shape != ours[name].shape:
                return False
            if not isinstance(value, Tensor) and value != ours[name]:
                return False
        for name, value in theirs.items():
            if isinstance(value, Tensor):
                ours[name].copy_(value)
        return True
