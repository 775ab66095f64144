"""Weight matrices of a live network, with the layout that each module type stores them in."""

from __future__ import annotations

from torch import Tensor, nn

from analysis.spectra.matrix_views import WeightLayout, matrix_views

_FUSED = {"c_attn": ("q", "k", "v")}
"""Attribute names of transformers layers whose outputs are several equal projections."""


def weight_matrices(model: nn.Module) -> dict[str, Tensor]:
    """Collect every weight that multiplies an input, as matrices (out, in), shared ones once.

    Linear layers, convolutions (by group, kernel flattened into the input side), embeddings and transformers'
    transposed ``Conv1D``, whose fused query-key-value weight also appears in parts.

    Returns
    -------
    dict
        Parameter name (with ``[...]`` for a part) to a matrix that shares the parameter's memory.
    """
    matrices: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, module in model.named_modules():
        layout = _layout(name, module)
        weight = getattr(module, "weight", None)
        if layout is None or not isinstance(weight, nn.Parameter) or id(weight) in seen:
            continue
        seen.add(id(weight))
        label = f"{name}.weight" if name else "weight"
        matrices.update(matrix_views(label, weight.detach(), layout))
    return matrices


def _layout(name: str, module: nn.Module) -> WeightLayout | None:
    if isinstance(module, nn.Linear):
        return WeightLayout("linear")
    if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d):
        return WeightLayout("conv", groups=module.groups)
    if isinstance(module, nn.Embedding):
        return WeightLayout("embedding")
    if type(module).__module__ == "transformers.pytorch_utils" and type(module).__name__ == "Conv1D":
        return WeightLayout("transposed", parts=_FUSED.get(name.rsplit(".", 1)[-1], ()))
    return None
