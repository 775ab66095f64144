"""Exact kernels of trained networks, usable on any ``torch.nn.Module``.

Names are imported on first use (PEP 562): another library that merely probes for a package called ``kernels`` pays nothing
and cannot start an import cycle.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_PLACES = {
    "kernel_matrix": "kernels.gram",
    "plan_kernel": "kernels.gram",
    "KernelResult": "kernels.result",
    "Plan": "kernels.plan",
    "layer_factors": "kernels.factor_stream",
    "layer_features": "kernels.feature_kernels",
}

if TYPE_CHECKING:
    from kernels.feature_kernels import layer_features as layer_features
    from kernels.gram import kernel_matrix as kernel_matrix
    from kernels.gram import plan_kernel as plan_kernel
    from kernels.plan import Plan as Plan
    from kernels.result import KernelResult as KernelResult

__all__ = sorted(_PLACES)


def __getattr__(name: str) -> Any:
    """Import a public name from the module that holds it."""
    if name not in _PLACES:
        raise AttributeError(f"module 'kernels' has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    """List the public names."""
    return __all__
