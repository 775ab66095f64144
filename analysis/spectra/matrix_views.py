"""The matrices that a network multiplies by: from a live model, or from a stored weight and its layout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

MIN_SIDE = 50
"""Smallest side for which a spectrum is compared with a limit law."""
_FUSED = {"c_attn": ("q", "k", "v")}
"""Attribute names of transformers layers whose outputs are several equal projections."""


@dataclass(frozen=True)
class WeightLayout:
    """How the storage of a weight maps to the matrix that multiplies its input.

    Attributes
    ----------
    kind : str
        ``linear`` (out, in); ``conv`` (out, in / groups, *kernel); ``transposed`` (in, out), the storage
        of Hugging Face's Conv1D; ``embedding`` (entries, dimension).
    groups : int
        Groups of a convolution; each is a matrix of its own.
    parts : tuple of str
        Names of equal blocks fused along the output, such as ``("q", "k", "v")``; each is added as a
        view in addition to the whole.
    """

    kind: Literal["linear", "conv", "transposed", "embedding"] = "linear"
    groups: int = 1
    parts: tuple[str, ...] = ()


def weight_matrices(model: nn.Module) -> dict[str, Tensor]:
    """Collect every weight that multiplies an input, as matrices (out, in), shared ones once.

    Linear layers, convolutions (by group, kernel flattened into the input side), embeddings and transformers'
    transposed ``Conv1D``, whose fused query-key-value weight also appears in parts.

    Returns
    -------
    dict
        Parameter name (with ``[...]`` for a part) to a matrix that shares the parameter's memory.

    Examples
    --------
    >>> from torch import nn
    >>> from analysis.spectra import weight_matrices
    >>> network = nn.Sequential(nn.Conv2d(3, 8, 5), nn.Flatten(), nn.Linear(8, 10))
    >>> {name: tuple(matrix.shape) for name, matrix in weight_matrices(network).items()}
    {'0.weight': (8, 75), '2.weight': (10, 8)}
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


def matrix_views(name: str, weight: Tensor, layout: WeightLayout) -> list[tuple[str, Tensor]]:
    """List the matrices (out, in) that a stored weight holds, labeled.

    Parameters
    ----------
    name : str
        Label of the weight; views append ``[...]``.
    weight : Tensor
        Floating-point storage; views share it wherever strides allow.
    layout : WeightLayout

    Returns
    -------
    list of (label, matrix)
        A convolution as (out, in * kernel), grouped ones by group; fused weights whole and in parts.

    Raises
    ------
    TypeError
        For quantized storage.
    ValueError
        When the shape does not fit the layout.
    """
    if not weight.is_floating_point():
        raise TypeError(
            f"{name} is stored as {weight.dtype}: a quantized weight has no meaningful spectrum, "
            "load the model in floating point"
        )
    if layout.kind == "conv":
        return _convolution_views(name, weight, layout)
    if weight.ndim != 2:
        raise ValueError(f"{name} has shape {tuple(weight.shape)}: a {layout.kind} weight is a matrix")
    matrix = weight.T if layout.kind == "transposed" else weight
    views = [(name, matrix)]
    if layout.parts:
        if matrix.shape[0] % len(layout.parts):
            raise ValueError(
                f"{name} has {matrix.shape[0]} outputs, which do not split into {len(layout.parts)} parts "
                f"{layout.parts}"
            )
        blocks = matrix.chunk(len(layout.parts), dim=0)
        views += [(f"{name}[{part}]", block) for part, block in zip(layout.parts, blocks, strict=True)]
    return views


def _convolution_views(name: str, weight: Tensor, layout: WeightLayout) -> list[tuple[str, Tensor]]:
    """View a convolution by group."""
    if weight.ndim < 3 or weight.shape[0] % layout.groups:
        raise ValueError(
            f"{name} has shape {tuple(weight.shape)}, which is not a convolution in {layout.groups} groups"
        )
    views = []
    for group, block in enumerate(weight.chunk(layout.groups, dim=0)):
        label = f"{name}[group {group}]" if layout.groups > 1 else name
        views.append((label, block.flatten(1)))
    return views


def skip_reason(matrix: Tensor, min_side: int = MIN_SIDE) -> str | None:
    """Why a weight gets no spectrum, or None: 1-D weights and matrices with a short side."""
    if matrix.ndim != 2:
        return f"{matrix.ndim}-D weight"
    if min(matrix.shape) < min_side:
        return f"short side {min(matrix.shape)} < {min_side}"
    return None


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
