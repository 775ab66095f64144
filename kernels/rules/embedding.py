r"""Rule of embeddings: row v of the table receives the sum of :math:`\delta_t` over the positions t that read it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from kernels.gradients.blocks import Role, TokenBlock
from kernels.rules.base import Rule, Use
from kernels.rules.positions import argument_first, samples_first


def _bind_embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> dict[str, Any]:
    if scale_grad_by_freq:
        raise ValueError(
            "embedding with scale_grad_by_freq=True: its gradient depends on the other samples of the batch, so a "
            "kernel is not defined; build the embedding without it"
        )
    if max_norm is not None:
        raise ValueError(
            "embedding with max_norm rewrites its own weights in the forward pass; renormalize once and drop max_norm"
        )
    return {"ids": input, "weight": weight, "padding_idx": padding_idx}


def _accept_embedding(use: Use) -> bool:
    view = use.views.get("weight")
    if view is None or view.scale != 1.0 or view.rows is not None or view.transposed:
        return False
    return view.shape[0] == view.parameter_shape[0]  # the other axes may be flattened


def _reduce_embedding(use: Use, delta: Tensor) -> Tensor:
    return samples_first(delta, use).flatten(1, -2)


def _build_embedding(use: Use, kept: Tensor) -> list[Role]:
    view = use.views["weight"]
    ids = argument_first(use.arguments["ids"], use).flatten(1).long()
    padding = use.arguments["padding_idx"]
    if padding is not None:
        padding = padding % view.shape[0]
        ids = torch.where(ids == padding, -1, ids)
        kept = kept * (ids >= 0)[:, None, :, None]
    return [TokenBlock(view.name, view.parameter_shape, ids, kept)]


EMBEDDING = Rule("embedding", _bind_embedding, ("weight",), _accept_embedding, _reduce_embedding, _build_embedding)
