"""Samples that are taken twice, where torch differentiates a batch of one wrongly.

torch 2.13 does so where a batch normalization in evaluation mode is given its gradient in another order of memory, as
behind ``flatten(2).transpose(1, 2)`` (LeViT, CvT): of a batch of one, whose first stride says nothing, the gradients of
the normalization and of all that comes before it are off by their own size. Outputs are right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from kernels.gradients.vmap_hazards import Called
from kernels.inputs.loan import after_forward, loan_of
from kernels.inputs.outputs import Inputs, Output, batch_size, call_logits

Gradients = Mapping[str, Tensor | None]

_ALIKE = {torch.float64: 1e-6, torch.float32: 1e-2}


def doubled(inputs: Inputs) -> Inputs:
    """Return every sample of a batch twice."""
    if isinstance(inputs, Tensor):
        return torch.cat([inputs, inputs])
    return {name: torch.cat([value, value]) for name, value in inputs.items()}


def logits_to_differentiate(model: nn.Module, inputs: Inputs, output: Callable[[Any], Tensor] | None) -> Tensor:
    """Logits of a batch; of a single sample the first of two where :func:`is_taken_twice` has found so."""
    loan = loan_of(model)
    if loan is not None and loan.twice and batch_size(inputs) == 1:
        return call_logits(model, doubled(inputs), output)[:1]
    return call_logits(model, inputs, output)


@contextmanager
def gradients_in_another_order(model: nn.Module) -> Iterator[list[str]]:
    """Give the names of batch normalizations that a backward pass in the block gives a gradient in another order."""
    found: list[str] = []

    def look(name: str) -> Callable[..., None]:
        def of_gradient(gradient: Tensor) -> None:
            if not gradient.is_contiguous():
                found.append(name)

        def of_output(module: nn.Module, inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor) and output.requires_grad:
                output.register_hook(of_gradient)

        return of_output

    norms = [(name, one) for name, one in model.named_modules() if isinstance(one, _BatchNorm)]
    handles = [one.register_forward_hook(look(name)) for name, one in norms]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def is_taken_twice(
    model: nn.Module,
    single: Inputs,
    output: Output,
    row: Float[Tensor, " k"],
    alone: Gradients,
    again: Callable[[], Gradients],
) -> bool:
    """Find out whether a sample has other gradients alone than beside itself, and which of the two are right.

    The difference quotient of the sample's own output decides. It knows no hooks, functions with a backward pass of
    their own or detached parts, so what these do to a batch of one is not taken for an error of torch.

    Parameters
    ----------
    model : nn.Module
        Lent.
    single : Tensor or mapping
        One sample.
    output : callable, optional
        Turns what the model returns into logits.
    row : Tensor, shape (k,)
        Its cotangent.
    alone : mapping
        Gradients of the sample alone.
    again : callable
        Gives them once more, through :func:`logits_to_differentiate`.
    """
    loan = loan_of(model)
    if loan is None or loan.twice:
        return False
    loan.twice = True
    try:
        beside = again()
    except (RuntimeError, ValueError, IndexError, TypeError):
        beside = alone
    finally:
        loan.twice = False
    right, other = {}, {}
    least = _ALIKE.get(row.dtype, 0.2)
    for name, own in alone.items():
        true = beside[name]
        if own is not None and true is not None and float((true - own).norm()) > least * float(true.norm()):
            right[name], other[name] = true.to_dense(), (true - own).to_dense()
    if not other:
        return False
    seeded = torch.Generator().manual_seed(0)
    along = {n: torch.randn(g.shape, generator=seeded, dtype=row.dtype).to(g) for n, g in other.items()}
    apart, slope = (sum(float((g * along[n]).sum()) for n, g in one.items()) for one in (other, right))
    loan.twice = abs(_quotient(model, single, output, row, along) - slope) < 0.1 * abs(apart)
    return loan.twice


def _quotient(model: nn.Module, single: Inputs, output: Output, row: Tensor, along: Mapping[str, Tensor]) -> float:
    """Central difference quotient of ``row @ logits`` along a direction of some parameters."""
    state = dict(model.named_parameters())
    ends = []
    length = torch.finfo(row.dtype).eps ** (1 / 3)
    for step in (length, -length):
        moved = {name: state[name].detach() + step * u for name, u in along.items()}
        with torch.no_grad():
            ends.append(float((call_logits(Called(model, moved), single, output)[0] * row).sum()))
        after_forward(model)
    return (ends[0] - ends[1]) / (2 * length)
