"""Fisher matrices that can be inverted: EK-FAC and its Kronecker-factored or diagonal blocks."""

from __future__ import annotations

from kernels.fisher.ekfac import EKFAC, accumulate_ekfac

__all__ = ["accumulate_ekfac", "EKFAC"]
