"""Per-sample gradients in factored form, block by block of parameters, and the generic per-sample fallback."""

from __future__ import annotations

from kernels.gradients.blocks import ConvBlock, OuterBlock, TiedBlock, TokenBlock, VectorBlock

__all__ = ["ConvBlock", "OuterBlock", "TiedBlock", "TokenBlock", "VectorBlock"]
