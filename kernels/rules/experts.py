r"""Mixtures of experts: every row goes through the matrix of the expert that its router chose.

The gradient of expert e's matrix is :math:`\sum_{t: e_t = e} \delta_t a_t^T`, a linear map over the sample's rows that
chose it. Hugging Face keeps the matrices of all experts in one parameter and multiplies them row by row
(``batched_mm``), sorted by expert (``grouped_mm``, which knows no float64) or with one gather per expert (``eager``).
All three are written out here with :func:`routed_linear`, in which the rows stay in the order of their samples.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.overrides import handle_torch_function, has_torch_function

from kernels.gradients.blocks import OuterBlock, Role, VectorBlock
from kernels.rules.base import Rule, Use
from kernels.rules.positions import read_whole, samples_first

IMPLEMENTATIONS = ("eager", "batched_mm", "grouped_mm")
_GATHERED = 1 << 20
"""Entries of gathered matrices up to which one batched product beats a product per expert; it also runs under vmap."""


def routed_linear(
    input: Float[Tensor, "s i"],
    weight: Float[Tensor, "e x y"],
    experts: Int[Tensor, " s"],
    bias: Float[Tensor, "e o"] | None = None,
    transposed: bool = False,
) -> Float[Tensor, "s o"]:
    """Multiply every row by the matrix of its own expert.

    Parameters
    ----------
    input : Tensor, shape (S, I)
        Rows.
    weight : Tensor, shape (E, O, I), or (E, I, O) if ``transposed``
        Matrices.
    experts : Tensor, shape (S,)
        Expert of each row.
    bias : Tensor, shape (E, O), optional
        Of the experts.

    Examples
    --------
    >>> import torch
    >>> from kernels.rules.experts import routed_linear
    >>> doubling_and_negating = torch.tensor([[[2.0]], [[-1.0]]])
    >>> routed_linear(torch.tensor([[3.0], [5.0]]), doubling_and_negating, torch.tensor([1, 0])).squeeze(1)
    tensor([-3., 10.])
    """
    tensors = (input, weight, experts, bias)
    if has_torch_function(tensors):
        found: Tensor = handle_torch_function(
            routed_linear, tensors, input, weight, experts, bias=bias, transposed=transposed
        )
        return found
    if len(input) * weight[0].numel() <= _GATHERED:
        matrices = weight[experts] if transposed else weight[experts].mT
        out = torch.bmm(input.unsqueeze(1), matrices).squeeze(1)
    else:
        order = experts.argsort(stable=True)
        sizes = experts.bincount(minlength=len(weight)).tolist()
        maps = weight.mT if transposed else weight
        parts = [F.linear(rows, maps[e]) for e, rows in enumerate(input[order].split(sizes)) if len(rows)]
        out = torch.cat(parts)[order.argsort()]
    return out if bias is None else out + bias[experts]


def routed_experts(layer: nn.Module, hidden_states: Tensor, top_k_index: Tensor, top_k_weights: Tensor) -> Tensor:
    """Forward pass of Hugging Face's experts, whose attributes say what a matrix is called and how it is stored.

    Parameters
    ----------
    layer : nn.Module
        A class under ``transformers.integrations.moe.use_experts_implementation``.
    hidden_states : Tensor, shape (tokens, width)
        Tokens of all samples, one sample after the other.
    top_k_index, top_k_weights : Tensor, shape (tokens, k)
        Experts of each token, and their weights.
    """
    kept: Any = layer
    count = top_k_index.shape[-1]
    experts = top_k_index.reshape(-1)
    first = "gate_up_proj" if kept.has_gate else "up_proj"

    def product(rows: Tensor, name: str) -> Tensor:
        bias = getattr(layer, f"{name}_bias") if kept.has_bias else None
        return routed_linear(rows, getattr(layer, name), experts, bias=bias, transposed=kept.is_transposed)

    rows = product(hidden_states.repeat_interleave(count, 0), first)
    rows = product(kept._apply_gate(rows) if kept.has_gate else kept.act_fn(rows), "down_proj")
    if kept.has_post_expert_norm:
        rows = kept.post_expert_norm(rows)
    weighted = rows * top_k_weights.reshape(-1, 1)
    return weighted.unflatten(0, (-1, count)).sum(1).to(hidden_states.dtype)


def _bind(
    input: Tensor, weight: Tensor, experts: Tensor, bias: Tensor | None = None, transposed: bool = False
) -> dict[str, Any]:
    return {"input": input, "weight": weight, "experts": experts, "bias": bias, "transposed": transposed}


def _accept(use: Use) -> bool:
    return read_whole(use, "weight", "bias") and all(view.scale == 1.0 for view in use.views.values())


def _reduce(use: Use, delta: Tensor) -> Tensor:
    return samples_first(delta, use).flatten(1, -2)


def _build(use: Use, kept: Tensor) -> list[Role]:
    weight, bias = use.views.get("weight"), use.views.get("bias")
    rows = samples_first(use.arguments["input"], use).flatten(1, -2)
    experts = samples_first(use.arguments["experts"], use).flatten(1)
    blocks: list[Role] = []
    for expert in range((weight or use.views["bias"]).shape[0]):
        chosen = experts == expert
        sizes = chosen.sum(1)
        places = chosen.long().argsort(dim=1, descending=True, stable=True)[:, : max(1, int(sizes.max()))]
        live = chosen.gather(1, places)  # rows that the sample sends to the expert, then rows of zeros
        delta = kept.gather(2, places[:, None, :, None].expand(-1, kept.shape[1], -1, kept.shape[3]))
        delta = delta * live[:, None, :, None]
        own = (expert, expert + 1)
        if weight is not None:
            a = rows.gather(1, places.unsqueeze(2).expand(-1, -1, rows.shape[2]))
            transposed = use.arguments["transposed"]
            blocks.append(OuterBlock(weight.name, weight.parameter_shape, delta, a, transposed=transposed, rows=own))
        if bias is not None:
            blocks.append(VectorBlock(bias.name, bias.parameter_shape, delta.sum(2), own))
    return blocks


ROUTED = Rule("routed linear", _bind, ("weight", "bias"), _accept, _reduce, _build)
