"""Where a long sweep keeps its states: in memory, or in whatever survives a kill."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class Keep(Protocol):
    """Where states and adjoints are kept: in memory, or in files that survive a kill."""

    def save(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        """Keep tensors under a name, in the place of earlier ones."""
        ...

    def load(self, name: str) -> dict[str, Tensor] | None:
        """Give what was kept whole under a name, or None."""
        ...


class Memory:
    """Keeps in memory."""

    def __init__(self) -> None:
        self.held: dict[str, dict[str, Tensor]] = {}

    def save(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        """Keep tensors under a name."""
        self.held[name] = dict(tensors)

    def load(self, name: str) -> dict[str, Tensor] | None:
        """Give what was kept under a name."""
        return self.held.get(name)
