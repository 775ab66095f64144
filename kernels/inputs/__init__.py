"""What a kernel is computed from: samples, model outputs and their cotangents, options, and checks of all of them."""

from __future__ import annotations

from kernels.inputs.loan import Loan
from kernels.inputs.model_checks import check_model
from kernels.inputs.options import KernelOptions
from kernels.inputs.outputs import call_logits, cotangent_rows
from kernels.inputs.samples import Samples

__all__ = ["call_logits", "check_model", "cotangent_rows", "KernelOptions", "Loan", "Samples"]
