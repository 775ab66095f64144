"""Arithmetic of a kernel: the type of the passes, of the contraction's operands, and of its sums."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

import torch
from jaxtyping import Float
from torch import Tensor, nn

_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@dataclass(frozen=True)
class Precision:
    """One named arithmetic.

    Forward and backward passes run in ``passes``; operands of the contraction are stored in ``operands``; sums are in
    ``passes`` (float32 or float64). ``tf32`` lets CUDA multiply float32 operands through TF32 in the contraction; on a
    CPU it changes nothing.

    Examples
    --------
    >>> from kernels.machine.precision import PRECISIONS
    >>> PRECISIONS["bfloat16"].operands, PRECISIONS["bfloat16"].passes
    (torch.bfloat16, torch.float32)
    """

    name: str
    passes: torch.dtype
    operands: torch.dtype
    tf32: bool = False

    def model(self, model: nn.Module) -> nn.Module:
        """Return the model in the passes' type: itself where it already is, else a converted copy.

        Raises
        ------
        ValueError
            When a float64 model would silently lose digits.
        """
        kinds = {p.dtype for p in model.parameters() if p.dtype in _FLOATS}
        if torch.float64 in kinds and self.passes != torch.float64:
            raise ValueError(
                f"the model is float64 but precision={self.name!r}: pass precision='float64', or convert the model"
            )
        if kinds == {self.passes}:
            return model
        turned = torch.complex128 if self.passes == torch.float64 else torch.complex64
        kind = {True: turned, False: self.passes}  # rotary tables may be complex buffers: keep their imaginary part

        def convert(x: Tensor) -> Tensor:
            return x.to(kind[x.is_complex()]) if x.is_complex() or x.is_floating_point() else x

        return copy.deepcopy(model)._apply(convert)

    @contextmanager
    def strict_passes(self) -> Iterator[None]:
        """Forward and backward passes in their own type: with TF32, units near zero would change sign."""
        with float32_products(), fixed_algorithms():
            yield

    @contextmanager
    def contraction(self) -> Iterator[None]:
        """TF32 in the contraction where it was requested by name, and sums in float32 or better everywhere."""
        with float32_products(tf32=self.tf32), full_sums():
            yield


PRECISIONS = {
    "float32": Precision("float32", torch.float32, torch.float32),
    "float64": Precision("float64", torch.float64, torch.float64),
    "tf32": Precision("tf32", torch.float32, torch.float32, tf32=True),
    "bfloat16": Precision("bfloat16", torch.float32, torch.bfloat16),
}


def precision_named(name: str) -> Precision:
    """Look up an arithmetic by name; ``"bf16"`` is accepted for ``"bfloat16"``.

    Examples
    --------
    >>> from kernels.machine import precision_named
    >>> precision_named("float64").passes
    torch.float64
    """
    chosen = PRECISIONS.get("bfloat16" if name == "bf16" else name)
    if chosen is None:
        raise ValueError(f"unknown precision {name!r}: use one of {', '.join(PRECISIONS)}")
    return chosen


def product(left: Float[Tensor, "n k"], right: Float[Tensor, "m k"]) -> Float[Tensor, "n m"]:
    """``left @ right.T`` with sums, and a result, in float32 or better.

    bfloat16 operands multiply exactly in float32; CUDA does so in one call, a CPU after widening.
    """
    if left.dtype != torch.bfloat16:
        return left @ right.T
    if left.is_cuda:
        return torch.mm(left, right.T, out_dtype=torch.float32)
    return left.float() @ right.float().T


def add_product(out: Float[Tensor, "n m"], left: Float[Tensor, "n k"], right: Float[Tensor, "m k"]) -> None:
    """``out += left @ right.T`` in place, as :func:`product`."""
    if left.dtype == out.dtype:
        out.addmm_(left, right.T)
    else:
        out.add_(product(left, right))


@contextmanager
def full_sums() -> Iterator[None]:
    """Add the partial sums of bfloat16 products in float32, where CUDA would by default in bfloat16."""
    matmul: Any = torch.backends.cuda.matmul
    before = (matmul.allow_bf16_reduced_precision_reduction, matmul.allow_bf16_reduced_precision_reduction_split_k)
    try:
        matmul.allow_bf16_reduced_precision_reduction = False
        yield
    finally:
        matmul.allow_bf16_reduced_precision_reduction = before


@contextmanager
def fixed_algorithms() -> Iterator[None]:
    """Exclude convolution algorithms that are chosen by timing or add in varying order, so that resumed tiles agree."""
    cudnn: Any = torch.backends.cudnn
    before = (cudnn.benchmark, cudnn.deterministic)
    try:
        cudnn.benchmark, cudnn.deterministic = False, True
        yield
    finally:
        cudnn.benchmark, cudnn.deterministic = before


@contextmanager
def float32_products(*, tf32: bool = False) -> Iterator[None]:
    """Multiply float32 numbers as float32, or as TF32, regardless of process settings, which are restored.

    ``torch.set_float32_matmul_precision("medium")``, which training frameworks recommend, turns float32 products into
    bfloat16 ones on CPUs that have them; autocast does so anywhere. The flags are those of single operations: reading
    the older ones fails where the newer have been used.
    """
    cudnn: Any = torch.backends.cudnn
    mkldnn: Any = torch.backends.mkldnn
    cuda: tuple[Any, ...] = (torch.backends.cuda.matmul, cudnn.conv, cudnn.rnn)
    cpu: tuple[Any, ...] = (mkldnn.matmul, mkldnn.conv, mkldnn.rnn)
    before = [flags.fp32_precision for flags in (*cuda, *cpu)]
    try:
        for flags in cuda:
            flags.fp32_precision = "tf32" if tf32 else "ieee"
        for flags in cpu:
            flags.fp32_precision = "ieee"
        with _no_autocast():
            yield
    finally:
        for flags, value in zip((*cuda, *cpu), before, strict=True):
            flags.fp32_precision = value


@contextmanager
def _no_autocast() -> Iterator[None]:
    """Autocast off, around the passes and where a model turns it on itself."""
    kinds = ("cpu", "cuda")
    before = [torch.is_autocast_enabled(kind) for kind in kinds]
    try:
        for kind in kinds:
            torch.set_autocast_enabled(kind, False)
        with (
            mock.patch.object(torch.autocast, "__enter__", lambda self: self),
            mock.patch.object(torch.autocast, "__exit__", lambda *_: None),
        ):
            yield
    finally:
        for kind, enabled in zip(kinds, before, strict=True):
            torch.set_autocast_enabled(kind, enabled)
