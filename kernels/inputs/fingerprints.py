"""What a stored kernel or feature file depends on, as short values that can be compared and shown.

Weights alone do not make a function: the same tensors under another activation, or read through another ``output=``,
give another kernel. The answers to the first samples tell these apart, with room for another device's rounding.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import torch
import xxhash
from jaxtyping import Float
from torch import Tensor, nn

_ROUNDING = 1e-3  # of the answers' size: far above another device's rounding, far below another function's answers


def weights_digest(model: nn.Module) -> str:
    """Digest of all parameters (with their ``requires_grad``) and buffers.

    It only has to distinguish networks, for which XXH3 is enough, at ten times the speed of SHA-256.
    """
    weights = xxhash.xxh3_128()
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        shape = "nested" if tensor.is_nested else tuple(tensor.shape)
        flags = f"{name}{shape}{tensor.dtype}{tensor.requires_grad}"
        weights.update(flags.encode())
        for part in _dense_parts(tensor.detach()):
            weights.update(part.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return weights.hexdigest()[:16]


def _dense_parts(tensor: Tensor) -> list[Tensor]:
    """Return what a tensor keeps in memory: itself, or the indices and values of a sparse one."""
    if tensor.layout == torch.strided:
        return list(tensor.unbind()) if tensor.is_nested else [tensor]
    if tensor.layout == torch.sparse_coo:
        tensor = tensor.coalesce()
        return [tensor.indices(), tensor.values()]
    if tensor.layout in (torch.sparse_csr, torch.sparse_bsr):
        return [tensor.crow_indices(), tensor.col_indices(), tensor.values()]
    if tensor.layout in (torch.sparse_csc, torch.sparse_bsc):
        return [tensor.ccol_indices(), tensor.row_indices(), tensor.values()]
    jagged: Any = tensor
    return [jagged.values(), jagged.offsets()]


def answers(logits: Float[Tensor, "n k"]) -> list[list[float]]:
    """Of each sample: number of outputs, their norm and one generic combination of them."""
    f = logits.detach().double().cpu()
    mixed = f @ torch.arange(1.0, f.shape[1] + 1, dtype=f.dtype).cos()
    pairs = zip(f.norm(dim=1).tolist(), mixed.tolist(), strict=True)
    return [[f.shape[1], float(f"{norm:.4g}"), float(f"{mix:.4g}")] for norm, mix in pairs]


def chosen(layers: Any, model: nn.Module) -> str:
    """Name a selection of parameters or modules by what it selects, so that no memory address enters."""
    if isinstance(layers, str):
        return layers
    if callable(layers):
        named = [*model.named_parameters(remove_duplicate=False), *model.named_modules(remove_duplicate=False)]
        return repr([name for name, _ in named if layers(name)])
    return repr(list(layers))


def differences(stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Keys whose values differ; ``answers`` only where nothing else explains them, and by more than rounding."""
    wanted = json.loads(json.dumps(wanted))
    unequal = sorted(key for key in stored.keys() | wanted.keys() if stored.get(key) != wanted.get(key))
    others = [key for key in unequal if key != "answers"]
    if others or not unequal or _close(stored.get("answers", []), wanted.get("answers", [])):
        return others
    return unequal


def _close(left: list[list[float]], right: list[list[float]]) -> bool:
    return len(left) == len(right) and all(
        a[0] == b[0] and max(abs(x - y) for x, y in zip(a, b, strict=True)) <= _ROUNDING * max(a[1], b[1])
        for a, b in zip(left, right, strict=True)
    )
