"""Context manager that freezes parameters and disables fused paths and recomputation while a model is traced.

What is switched off is so for this thread only.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
import torch.utils.checkpoint
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode, _get_current_function_mode, _pop_mode_temporarily

from kernels.machine.process_state import original, replaced_here
from kernels.rules.experts import IMPLEMENTATIONS, routed_experts


@contextmanager
def quiet(model: nn.Module) -> Iterator[None]:
    """Freeze the parameters, switch off composite fast paths and recomputation; restore all however the block ends."""
    flags = [(p, p.requires_grad) for p in model.parameters()]
    try:
        for p, _ in flags:
            p.requires_grad_(False)
        with (
            replaced_here(torch.backends.mha, "get_fastpath_enabled", lambda: False),
            _PlainAttention(),
            activations_kept(),
            _activations_fused(),
            _experts_routed(),
        ):
            yield
    finally:
        for p, flag in flags:
            p.requires_grad_(flag)


@contextmanager
def activations_kept() -> Iterator[None]:
    """Make checkpointed layers keep their activations: recomputation in the backward pass would not be traced."""
    place = torch.utils.checkpoint
    with (
        replaced_here(place, "_checkpoint_without_reentrant_generator", _before_and_after),
        replaced_here(place.CheckpointFunction, "apply", _run_once),
    ):
        yield


@contextmanager
def _activations_fused() -> Iterator[None]:
    """Run GPT-2's activation, which Hugging Face composes of eight operations, as the equivalent single one.

    Values agree to rounding; the eight take a fifth of the time of a small GPT-2's kernel.
    """
    activation = getattr(sys.modules.get("transformers.activations"), "NewGELUActivation", None)
    with replaced_here(activation, "forward", _gelu_by_tanh) if activation else nullcontext():
        yield


@contextmanager
def _experts_routed() -> Iterator[None]:
    """Keep the rows of Hugging Face's mixtures of experts in the order of their samples, in any precision."""
    place: Any = sys.modules.get("transformers.integrations.moe")
    if place is None:
        yield
        return
    dispatch = original(place.ExpertsInterface, "get_interface")

    def choose(interface: Any, name: str, default: Callable[..., Any]) -> Callable[..., Any]:
        own = dispatch(interface, name, default)
        if name not in IMPLEMENTATIONS:
            return own
        return lambda layer, *args, **more: (own if layer._is_expert_parallel else routed_experts)(layer, *args, **more)

    with replaced_here(place.ExpertsInterface, "get_interface", choose):
        yield


def _gelu_by_tanh(_: nn.Module, input: Tensor) -> Tensor:
    return F.gelu(input, approximate="tanh")


def _before_and_after(*_: Any, **__: Any) -> Iterator[None]:
    """Do nothing around the forward pass of a checkpointed layer."""
    yield


def _run_once(_: type, function: Callable[..., Any], _preserve: bool, *args: Any) -> Any:
    """Run the reentrant variant without recomputation."""
    return function(*args)


FUSED = F.scaled_dot_product_attention


class _PlainAttention(TorchFunctionMode):
    """Attention in separate steps, which can be vectorized and differentiated twice; the fused kernels cannot."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is FUSED:
            return plain_attention(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


@contextmanager
def aside() -> Iterator[None]:
    """Leave attention to torch in the block, which does not run the model: a mode costs microseconds an operation."""
    alone = isinstance(_get_current_function_mode(), _PlainAttention)
    with _pop_mode_temporarily() if alone else nullcontext():
        yield


@contextmanager
def watched_by(trace: TorchFunctionMode) -> Iterator[None]:
    """Enter a trace, which takes attention apart itself."""
    with aside(), trace:
        yield


def plain_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    **options: Any,
) -> Tensor:
    """Compute attention with the arguments of ``scaled_dot_product_attention``, in separate steps."""
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        attn_mask = torch.zeros_like(attn_mask, dtype=query.dtype).masked_fill(~attn_mask, float("-inf"))
    steps = torch.ops.aten._scaled_dot_product_attention_math
    return steps(query, key, value, attn_mask, dropout_p, is_causal, None, **options)[0]
