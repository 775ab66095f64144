"""Numbers of positions of the samples whose positions are packed one after another in a tensor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Extents:
    """Positions of each of ``count`` samples in a packed tensor: all ``length``, or one entry of ``sizes`` each."""

    count: int
    length: int | None
    sizes: tuple[int, ...] = ()

    @classmethod
    def of(cls, sizes: Sequence[int]) -> Extents:
        """Recognize equal sizes."""
        if len(set(sizes)) == 1:
            return cls(len(sizes), sizes[0])
        return cls(len(sizes), None, tuple(sizes))

    @classmethod
    def concatenate(cls, parts: Sequence[Extents]) -> Extents:
        """Extents of consecutive batches."""
        if len({part.length for part in parts}) == 1 and parts[0].length is not None:
            return cls(sum(part.count for part in parts), parts[0].length)
        return cls.of([size for part in parts for size in part.each()])

    def each(self) -> list[int]:
        """Size of every sample."""
        return list(self.sizes) if self.length is None else [self.length] * self.count

    @property
    def longest(self) -> int:
        """Largest size."""
        return max(self.sizes, default=0) if self.length is None else self.length

    @property
    def mean(self) -> float:
        """Mean size."""
        return sum(self.sizes) / max(1, self.count) if self.length is None else float(self.length)

    def take(self, start: int, stop: int) -> tuple[slice, Extents]:
        """Packed positions of samples ``[start, stop)``, and their extents."""
        if self.length is not None:
            return slice(start * self.length, stop * self.length), Extents(stop - start, self.length)
        first = sum(self.sizes[:start])
        inside = self.sizes[start:stop]
        return slice(first, first + sum(inside)), Extents.of(inside)
