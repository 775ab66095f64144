"""The machine's arithmetic during a stage: set from the configuration, restored afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from models.fields import problems
from pipeline.config.numerics import NumericsConfig
from pipeline.errors import UserError
from pipeline.machine.threads import bound_threads

_DTYPES = {"64-true": torch.float64}


def network_dtype(precision: str) -> torch.dtype:
    """Precision in which weights and inputs are kept: float64 for ``64-true``, else float32."""
    return _DTYPES.get(precision, torch.float32)


@contextmanager
def arithmetic(numerics: NumericsConfig) -> Iterator[torch.device]:
    """Fix threads, determinism and TF32 for the length of a ``with`` block.

    Jobs of one process must not leak settings into each other, so everything is restored on leaving.

    Parameters
    ----------
    numerics : NumericsConfig
        ``threads`` binds the pools of torch, BLAS and OpenMP. TF32 is off except under ``precision="tf32"``, our name
        for float32 with TF32 matrix products and convolutions.

    Yields
    ------
    torch.device
        Where to compute.

    Raises
    ------
    UserError
        If a setting is unknown, or this machine has no such device.
    """
    for problem in problems("numerics", numerics):
        raise UserError(problem)
    if numerics.device == "cuda" and not torch.cuda.is_available():
        raise UserError("numerics.device=cuda, but this machine has no usable GPU; choose numerics=cpu.")
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    matmul = torch.get_float32_matmul_precision()
    cudnn = (torch.backends.cudnn.allow_tf32, torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark)
    tf32 = numerics.precision == "tf32"
    try:
        torch.use_deterministic_algorithms(numerics.deterministic)
        torch.set_float32_matmul_precision("high" if tf32 else "highest")
        torch.backends.cudnn.allow_tf32 = tf32
        torch.backends.cudnn.deterministic = numerics.deterministic
        torch.backends.cudnn.benchmark = False
        with bound_threads(numerics.threads):
            yield torch.device(numerics.device)
    finally:
        torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
        torch.set_float32_matmul_precision(matmul)
        allow, exact, benchmark = cudnn
        torch.backends.cudnn.allow_tf32 = allow
        torch.backends.cudnn.deterministic = exact
        torch.backends.cudnn.benchmark = benchmark
