"""Slow, obvious kernels in float64: one backward per sample and class, then an explicit Jacobian.

Nothing here is shared with `kernels/`. A sample goes through the model alone, `torch.autograd.grad` gives the
gradient of one logit, and a kernel is a sum over the stored numbers.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

Inputs = Tensor | Mapping[str, Tensor]
Jacobian = dict[str, Tensor]  # parameter name -> (N, C, numel)


def count(inputs: Inputs) -> int:
    """Number of samples."""
    return len(inputs) if isinstance(inputs, Tensor) else len(next(iter(inputs.values())))


def rows(inputs: Inputs, index) -> Inputs:
    """The samples at `index` (a slice or an index tensor), still batched."""
    if isinstance(inputs, Tensor):
        return inputs[index]
    return {key: value[index] for key, value in inputs.items()}


def logits(model: nn.Module, inputs: Inputs) -> Tensor:
    """(N, C) logits of a model that takes a tensor or keyword tensors and gives a tensor or a ModelOutput."""
    output = model(inputs) if isinstance(inputs, Tensor) else model(**inputs)
    output = getattr(output, "logits", output)
    return output[:, None] if output.ndim == 1 else output


def jacobian(model: nn.Module, inputs: Inputs) -> Jacobian:
    """d f_c(x_n) / d theta for every parameter that requires a gradient; tied parameters appear once."""
    named = {name: p for name, p in model.named_parameters() if p.requires_grad}
    found: dict[str, list[Tensor]] = {name: [] for name in named}
    for n in range(count(inputs)):
        f = logits(model, rows(inputs, slice(n, n + 1)))[0]
        for c in range(len(f)):
            grads = torch.autograd.grad(f[c], list(named.values()), retain_graph=c + 1 < len(f), allow_unused=True)
            for (name, p), g in zip(named.items(), grads, strict=True):
                found[name].append(torch.zeros(p.numel(), dtype=p.dtype) if g is None else g.detach().reshape(-1))
    return {name: torch.stack(gs).unflatten(0, (count(inputs), -1)) for name, gs in found.items()}


def flat(jac: Jacobian) -> Tensor:
    """(N, C, P) with all parameters side by side."""
    return torch.cat(list(jac.values()), dim=2)


def entk(left: Tensor, right: Tensor) -> Tensor:
    """(N, M, C, C): one block J(x) J(x')^T per pair."""
    return torch.einsum("ncp,mdp->nmcd", left, right)


def trntk(left: Tensor, right: Tensor) -> Tensor:
    """(N, M): trace of each block."""
    return torch.einsum("ncp,mcp->nm", left, right)


def pntk(left: Tensor, right: Tensor) -> Tensor:
    """(N, M): gradients of the summed logits."""
    return left.sum(1) @ right.sum(1).T


def contracted(left: Tensor, e_left: Tensor, right: Tensor, e_right: Tensor) -> Tensor:
    """(N, M): each sample's Jacobian contracted with its own cotangent e (N, C)."""
    return torch.einsum("nc,ncp->np", e_left, left) @ torch.einsum("nc,ncp->np", e_right, right).T


def loss_cotangent(f: Tensor, labels: Tensor) -> Tensor:
    """(N, C): d cross-entropy / d logits; binary cross-entropy with logits when C = 1."""
    if f.shape[1] == 1:
        return torch.sigmoid(f) - labels[:, None].to(f)
    return torch.softmax(f, 1) - nn.functional.one_hot(labels, f.shape[1]).to(f)


def log_odds_cotangent(f: Tensor, labels: Tensor) -> Tensor:
    """(N, C): d log(p_y / (1 - p_y)) / d logits, with p_y from softmax, or from the sigmoid when C = 1."""
    f = f.detach().requires_grad_(True)
    if f.shape[1] == 1:
        value = ((2 * labels - 1).to(f) * f[:, 0]).sum()
    else:
        p = torch.softmax(f, 1)[torch.arange(len(f)), labels]
        value = torch.log(p / (1 - p)).sum()
    return torch.autograd.grad(value, f)[0]


def loss_gradient(model: nn.Module, inputs: Inputs, labels: Tensor) -> Tensor:
    """(N, N): inner products of per-sample loss gradients."""
    with torch.no_grad():
        e = loss_cotangent(logits(model, inputs), labels)
    full = flat(jacobian(model, inputs))
    return contracted(full, e, full, e)


def parts(left: Jacobian, right: Jacobian, kernel: Callable[[Tensor, Tensor], Tensor]) -> dict[str, Tensor]:
    """The kernel restricted to each parameter tensor; the parts sum to the whole."""
    return {name: kernel(left[name], right[name]) for name in left}


def cosine(cross: Tensor, left_diagonal: Tensor, right_diagonal: Tensor) -> Tensor:
    """K_ij / sqrt(d_i d_j)."""
    return cross / (left_diagonal[:, None] * right_diagonal[None, :]).sqrt()


def module_outputs(model: nn.Module, inputs: Inputs, names: list[str], *, take: str = "output") -> list[Tensor]:
    """(N, d) flattened input or output of each named module, one sample at a time."""
    modules = dict(model.named_modules())
    found: list[list[Tensor]] = []
    for n in range(count(inputs)):
        row: dict[str, Tensor] = {}

        def keep(module, args, output, *, name, row=row):
            value = args[0] if take == "input" else output
            value = value[0] if isinstance(value, tuple) else value
            row[name] = getattr(value, "last_hidden_state", value).detach().reshape(-1).clone()

        handles = [
            modules[name].register_forward_hook(lambda m, a, o, name=name: keep(m, a, o, name=name)) for name in names
        ]
        try:
            with torch.no_grad():
                logits(model, rows(inputs, slice(n, n + 1)))
        finally:
            for handle in handles:
                handle.remove()
        found.append([row[name] for name in names])
    return [torch.stack([row[k] for row in found]) for k in range(len(names))]
