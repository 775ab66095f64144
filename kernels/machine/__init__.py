"""What a kernel is computed with: arithmetic, memory, processes, and random numbers that depend on a counter alone."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kernels.machine.memory import parse_memory, show_bytes
    from kernels.machine.precision import Precision, precision_named

__all__ = ["parse_memory", "Precision", "precision_named", "show_bytes"]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for: who only asks for free memory needs no torch."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{'precision' if 'recision' in name else 'memory'}"), name)
