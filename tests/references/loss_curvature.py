"""Slow, obvious second derivatives of a mean loss in float64: whole matrices, column by column."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from tests.references.per_sample_jacobian import Inputs, count, flat, jacobian, logits, rows


def parameters(model: nn.Module) -> list[Tensor]:
    """What is differentiated by, each tensor once."""
    return [p for p in model.parameters() if p.requires_grad]


def hessian(model: nn.Module, inputs: Inputs, loss: Callable[[Tensor], Tensor]) -> Tensor:
    """(P, P): every entry of the gradient differentiated once more by every parameter."""
    own = parameters(model)
    slopes = torch.autograd.grad(loss(logits(model, inputs)), own, create_graph=True, allow_unused=True)
    entries = _joined(slopes, own)
    found = []
    for entry in entries:
        if not entry.requires_grad:
            found.append(torch.zeros(len(entries), dtype=torch.float64))
            continue
        second = torch.autograd.grad(entry, own, retain_graph=True, allow_unused=True)
        found.append(_joined(second, own))
    return torch.stack(found)


def gauss_newton(model: nn.Module, inputs: Inputs, loss: Callable[[Tensor], Tensor]) -> Tensor:
    """(P, P): sum over samples of J' (second derivative of the loss by that sample's logits) J."""
    full = flat(jacobian(model, inputs))
    f = torch.cat([logits(model, rows(inputs, slice(n, n + 1))) for n in range(count(inputs))]).detach()
    curvature = torch.autograd.functional.hessian(loss, f)  # (N, C, N, C)
    return torch.einsum("ncp,ncmd,mdq->pq", full, curvature, full)


def difference_of_gradients(
    model: nn.Module, inputs: Inputs, loss: Callable[[Tensor], Tensor], vector: Tensor, step: float = 1e-5
) -> Tensor:
    """(P,): Hessian times a vector, from the gradients of two networks a small step apart."""
    own = parameters(model)
    parts = [part.view_as(p) for part, p in zip(vector.split([p.numel() for p in own]), own, strict=True)]
    ends = []
    for sign in (1, -1):
        with torch.no_grad():
            for p, part in zip(own, parts, strict=True):
                p.add_(sign * step * part)
        slopes = torch.autograd.grad(loss(logits(model, inputs)), own, allow_unused=True)
        ends.append(_joined(slopes, own))
        with torch.no_grad():
            for p, part in zip(own, parts, strict=True):
                p.sub_(sign * step * part)
    return (ends[0] - ends[1]) / (2 * step)


def _joined(parts, own: list[Tensor]) -> Tensor:
    return torch.cat([(torch.zeros_like(p) if g is None else g).reshape(-1) for g, p in zip(parts, own, strict=True)])
