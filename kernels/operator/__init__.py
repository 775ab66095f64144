"""A kernel as an operator: products, traces, eigenvalues and alignments of kernels that are never formed."""

from __future__ import annotations

from kernels.operator.estimates import Estimate
from kernels.operator.kernel_operator import KernelOperator
from kernels.operator.lanczos import spectral_density

__all__ = ["Estimate", "KernelOperator", "spectral_density"]
