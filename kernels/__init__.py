"""Exact kernels of trained networks, usable on any ``torch.nn.Module``.

Names are imported on first use (PEP 562): another library that merely probes for a package called ``kernels`` pays
nothing and cannot start an import cycle.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_PLACES = {
    "kernel_matrix": "kernels.gram",
    "plan_kernel": "kernels.gram",
    "KernelOptions": "kernels.inputs.options",
    "KernelResult": "kernels.contraction.result",
    "Plan": "kernels.contraction.plan",
    "KernelOperator": "kernels.operator.kernel_operator",
    "kernel_features": "kernels.features",
    "KernelFeatures": "kernels.feature_result",
    "verify": "kernels.verification",
    "layer_factors": "kernels.capture.factor_stream",
    "layer_features": "kernels.capture.layer_outputs",
    "find_output_layer": "kernels.capture.layer_outputs",
    "layer_jacobians": "kernels.jacobians",
    "fisher_blocks": "kernels.jacobians",
    "autograd_kernel": "kernels.jacobians",
    "fit_ekfac": "kernels.influence",
    "influence_scores": "kernels.influence",
    "GaussNewton": "kernels.gauss_newton",
    "LossCurvature": "kernels.curvature",
    "curvature_spectrum": "kernels.curvature",
    "token_products": "kernels.token_pairs",
    "kernel_spectrum": "kernels.diagnostics",
    "effective_rank": "kernels.diagnostics",
    "kernel_alignment": "kernels.diagnostics",
    "target_alignment": "kernels.diagnostics",
    "unbiased_cka": "kernels.diagnostics",
    "kernel_velocity": "kernels.diagnostics",
    "relative_change": "kernels.diagnostics",
}

__all__ = sorted(_PLACES)


def __getattr__(name: str) -> Any:
    """Import a public name from the module that holds it."""
    if name not in _PLACES:
        if (version := _other_kernels()) is not None and not name.startswith("_"):
            raise ImportError(
                f"{name} is not in seedscope's package 'kernels', which hides Hugging Face's of the same name (version "
                f"{version} is installed): run `pip uninstall kernels`, or use an environment for each."
            )
        raise AttributeError(f"module 'kernels' has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)


def _other_kernels() -> str | None:
    """Version of another publisher's package of the same name, if one is installed."""
    from importlib import metadata

    try:
        return metadata.version("kernels")
    except metadata.PackageNotFoundError:
        return None


def __dir__() -> list[str]:
    """List the public names."""
    return __all__
