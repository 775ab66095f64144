"""Arithmetic of a kernel: the type of the passes, of the contraction's operands, and of its sums."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from kernels.machine.process_state import SharedSetting, replaced_here


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

    def refuse_narrowing(self, model: nn.Module) -> None:
        """Refuse a float64 model that would silently lose digits.

        Raises
        ------
        ValueError
            With the precision to name.
        """
        if not isinstance(model, nn.Module) or self.passes == torch.float64:
            return
        if any(p.dtype == torch.float64 for p in model.parameters()):
            raise ValueError(
                f"the model is float64 but precision={self.name!r}: pass precision='float64', or convert the model"
            )

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
    chosen = PRECISIONS.get("bfloat16" if name == "bf16" else name) if isinstance(name, str) else None
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


_CUDA: Any = torch.backends.cuda.matmul
_CUDNN: Any = torch.backends.cudnn
_MKLDNN: Any = torch.backends.mkldnn


def _flag(owner: Any, name: str, *strict: Any) -> SharedSetting:
    return SharedSetting(lambda: getattr(owner, name), lambda value: setattr(owner, name, value), strict)


_FP32_CUDA = [_flag(one, "fp32_precision", "ieee", "tf32") for one in (_CUDA, _CUDNN.conv, _CUDNN.rnn)]
_FP32_CPU = [_flag(one, "fp32_precision", "ieee") for one in (_MKLDNN.matmul, _MKLDNN.conv, _MKLDNN.rnn)]
_FIXED = ((_flag(_CUDNN, "benchmark", False), False), (_flag(_CUDNN, "deterministic", True), True))


def _read_sums() -> tuple[bool, bool]:
    return (
        _CUDA.allow_bf16_reduced_precision_reduction,
        _CUDA.allow_bf16_reduced_precision_reduction_split_k,
    )


def _write_sums(value: tuple[bool, bool]) -> None:
    _CUDA.allow_bf16_reduced_precision_reduction = value


_SUMS = SharedSetting(_read_sums, _write_sums, ((False, True),))


@contextmanager
def full_sums() -> Iterator[None]:
    """Add the partial sums of bfloat16 products in float32, where CUDA would by default in bfloat16."""
    with _SUMS.at((False, True)):
        yield


@contextmanager
def fixed_algorithms() -> Iterator[None]:
    """Exclude convolution algorithms that are chosen by timing or add in varying order, so that resumed tiles agree."""
    with ExitStack() as stack:
        for setting, value in _FIXED:
            stack.enter_context(setting.at(value))
        yield


@contextmanager
def float32_products(*, tf32: bool = False) -> Iterator[None]:
    """Multiply float32 numbers as float32, or as TF32, regardless of process settings, which are restored.

    ``torch.set_float32_matmul_precision("medium")``, which training frameworks recommend, turns float32 products into
    bfloat16 ones on CPUs that have them; autocast does so anywhere. The flags are those of single operations: reading
    the older ones fails where the newer have been used. torch has them only once for all threads.
    """
    on_cards = "tf32" if tf32 else "ieee"
    wanted = [*((one, on_cards) for one in _FP32_CUDA), *((one, "ieee") for one in _FP32_CPU)]
    if _autocast_is_off() and all(setting.is_at(value) for setting, value in wanted):
        yield  # inside of a block that asks for the same
        return
    with ExitStack() as stack:
        for setting, value in wanted:
            stack.enter_context(setting.at(value))
        stack.enter_context(_no_autocast())
        yield


_KINDS = ("cpu", "cuda")
_BLOCKS = threading.local()
"""How many blocks without autocast a thread is in."""


def _autocast_is_off() -> bool:
    return getattr(_BLOCKS, "depth", 0) > 0 and not any(map(torch.is_autocast_enabled, _KINDS))


@contextmanager
def _no_autocast() -> Iterator[None]:
    """Autocast off in this thread, around the passes and where a model turns it on itself."""
    before = [torch.is_autocast_enabled(kind) for kind in _KINDS]
    _BLOCKS.depth = getattr(_BLOCKS, "depth", 0) + 1
    try:
        for kind in _KINDS:
            torch.set_autocast_enabled(kind, False)
        with (
            replaced_here(torch.autocast, "__enter__", lambda self: self),
            replaced_here(torch.autocast, "__exit__", lambda *_: None),
        ):
            yield
    finally:
        _BLOCKS.depth -= 1
        for kind, enabled in zip(_KINDS, before, strict=True):
            torch.set_autocast_enabled(kind, enabled)
