"""Context manager that freezes parameters and disables fused paths and recomputation while a model is traced."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F
import torch.utils.checkpoint
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from kernels.rules.experts import IMPLEMENTATIONS, routed_experts


@contextmanager
def quiet(model: nn.Module) -> Iterator[None]:
    """Freeze the parameters, switch off composite fast paths and recomputation; restore all however the block ends."""
    flags = [(p, p.requires_grad) for p in model.parameters()]
    fast = torch.backends.mha.get_fastpath_enabled()
    try:
        for p, _ in flags:
            p.requires_grad_(False)
        torch.backends.mha.set_fastpath_enabled(False)
        with sdpa_kernel(SDPBackend.MATH), _activations_kept(), _activations_fused(), _experts_routed():
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        for p, flag in flags:
            p.requires_grad_(flag)


@contextmanager
def _activations_kept() -> Iterator[None]:
    """Make checkpointed layers keep their activations: recomputation in the backward pass would not be traced."""
    place = torch.utils.checkpoint
    with (
        mock.patch.object(place, "_checkpoint_without_reentrant_generator", _before_and_after),
        mock.patch.object(place, "CheckpointFunction", _RunOnce),
    ):
        yield


@contextmanager
def _activations_fused() -> Iterator[None]:
    """Run GPT-2's activation, which Hugging Face composes of eight operations, as the equivalent single one.

    Values agree to rounding; the eight take a fifth of the time of a small GPT-2's kernel.
    """
    activation = getattr(sys.modules.get("transformers.activations"), "NewGELUActivation", None)
    with mock.patch.object(activation, "forward", _gelu_by_tanh) if activation else nullcontext():
        yield


@contextmanager
def _experts_routed() -> Iterator[None]:
    """Keep the rows of Hugging Face's mixtures of experts in the order of their samples, in any precision."""
    place: Any = sys.modules.get("transformers.integrations.moe")
    if place is None:
        yield
        return
    dispatch = place.ExpertsInterface.get_interface

    def choose(interface: Any, name: str, default: Callable[..., Any]) -> Callable[..., Any]:
        own = dispatch(interface, name, default)
        if name not in IMPLEMENTATIONS:
            return own
        return lambda layer, *args, **more: (own if layer._is_expert_parallel else routed_experts)(layer, *args, **more)

    with mock.patch.object(place.ExpertsInterface, "get_interface", choose):
        yield


def _gelu_by_tanh(_: nn.Module, input: Tensor) -> Tensor:
    return F.gelu(input, approximate="tanh")


def _before_and_after(*_: Any, **__: Any) -> Iterator[None]:
    """Do nothing around the forward pass of a checkpointed layer."""
    yield


class _RunOnce:
    """The reentrant variant, without recomputation."""

    @staticmethod
    def apply(function: Callable[..., Any], _preserve: bool, *args: Any) -> Any:
        return function(*args)
