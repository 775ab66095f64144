"""Refuse passes in which a sample depends on the samples beside it: another output, or another gradient."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

# Of the largest output: the same network at another batch size.
_OUTPUTS = {torch.float64: 1e-9, torch.float32: 1e-3}
# Of a gradient, where units near zero may switch when a sample is alone; in float32 one of few units may.
SWITCHED = {torch.float64: 1e-8, torch.float32: 2e-3}
# In float64 more: torch differentiates a sample alone wrongly where a batch normalization comes before a transposed
# view, and where that gradient is 1e-12 of the largest (CvT's last query) no kernel is another for it.
_COMPANY = {torch.float64: 1e-6, torch.float32: 5e-2}

_CAUSES = (
    "samples depend on each other (batch normalization, attention between samples), the network is random, a hook "
    "changes gradients other than linearly, a hook or own backward pass acts on the whole batch, or torch itself "
    "differentiates one sample wrongly (batch normalization before a transposed view); per-sample kernels need "
    "independent samples"
)


def require_same_outputs(
    logits: Float[Tensor, "b k"],
    alone: Float[Tensor, "m k"],
    chosen: Int[Tensor, " m"],
    digits: torch.dtype,
    place: str,
) -> None:
    """Refuse samples whose outputs are others when they are alone: they depend on each other, or on chance."""
    deviation = float((logits[chosen.to(logits.device)] - alone).abs().max())
    if not deviation <= _OUTPUTS[digits] * max(float(logits.abs().max()), 1e-30):
        raise ValueError(
            f"a sample's output depends on the other samples of its batch, or on random numbers (largest deviation "
            f"{deviation:.3g} in {place}): per-sample kernels need independent samples; check batch "
            "normalization, dropout and padding masks"
        )


def by_company(differences: dict[str, float], digits: torch.dtype | None) -> dict[str, float]:
    """Those differences of samples alone that a unit near zero does not explain."""
    return {name: value for name, value in differences.items() if value > _COMPANY[digits or torch.float32]}


def refuse_sums(differences: dict[str, float], place: str) -> None:
    """Refuse a batch whose gradient is another than the sum of its samples'."""
    worst = max(differences, key=lambda name: differences[name])
    raise ValueError(
        f"the gradient of {worst} for {place} is not the sum of its samples' gradients (difference "
        f"{differences[worst]:.2g} of its size): {_CAUSES}"
    )
