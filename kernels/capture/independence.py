"""Refuse models in which a sample's output depends on the samples beside it, or on chance."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

# Of how outputs differ between samples: a coupling to be refused is of that order.
_COUPLING = {torch.float64: 1e-5, torch.float32: 1e-2}
# Of the largest output: rounding at another batch size.
_ROUNDING = {torch.float64: 1e-7, torch.float32: 3e-5}


def require_independence(together: Float[Tensor, "b k"], alone: Float[Tensor, "b k"]) -> None:
    """Require that a sample's output is the same in another batch, in units of how outputs differ between samples."""
    deviation = float((together - alone).abs().max())
    spread = float((alone.amax(0) - alone.amin(0)).max())
    rounding = _ROUNDING.get(alone.dtype, 0.05) * float(alone.abs().max())
    if deviation > _COUPLING.get(alone.dtype, 0.2) * spread + rounding:  # what is not finite is refused elsewhere
        raise ValueError(
            f"a sample's output depends on the other samples of its batch, or on random numbers (largest deviation "
            f"{deviation:.3g}); per-sample kernels need independent samples: check batch normalization, dropout and "
            "padding masks"
        )
