r"""Rule of any other operation that reads parameters and samples: it alone is differentiated, sample by sample.

An operation :math:`y = h(x, \theta)` whose tensors hold the samples on their first axes is one small function of each
sample. With the output gradient :math:`\delta_n` of sample n known, :math:`\delta_n^T \partial h(x_n, \theta) /
\partial\theta` needs the operation and not the network: all samples at once where torch can vectorize it, else one
after another (a function of the model's own, ``torch.autograd.Function``, with a backward pass for whole batches).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import vjp, vmap

from kernels.gradients.blocks import Role
from kernels.gradients.derived import pulled_back, replaced_in, tensors_in
from kernels.rules.base import Rule, Use
from kernels.rules.positions import samples_first, vector_block

_SLOTS = tuple(map(str, range(64)))
_SMALL = 2**22
"""Numbers of all samples' cotangents, each as large as the batch, up to which they are pulled back together."""
_FEW = 8
"""Up to so many cotangents of one sample, a backward pass for each costs less than a vectorized one."""


_Run = Callable[[Sequence[Tensor], Sequence[Tensor]], Tensor]


@dataclass
class _Graphs:
    """Results of an operation with their graphs, kept while further cotangents of the same pass follow."""

    keep: bool = False
    kept: list[tuple[Tensor, list[Tensor]]] = field(default_factory=list)

    def of(self, index: int, run: _Run, samples: list[Tensor], parameters: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Return a result and the leaves that stand for the parameters."""
        if index < len(self.kept):
            return self.kept[index]
        leaves = [p.detach().requires_grad_() for p in parameters]
        with torch.enable_grad():
            made = run(samples, leaves), leaves
        if self.keep:
            self.kept.append(made)
        return made


def operation_rule(func: Callable[..., Any], label: str, sampled: Sequence[Tensor]) -> Rule:
    """Make the rule of one call of an operation.

    Parameters
    ----------
    func : callable
        The operation.
    label : str
        Its name.
    sampled : sequence of Tensor
        Arguments that hold samples.

    Examples
    --------
    >>> import torch
    >>> from kernels.rules.operation import operation_rule
    >>> rule = operation_rule(torch.cdist, "cdist", [])
    >>> rule.name
    'operation cdist'
    """
    bind = partial(_bind, func, {id(x) for x in sampled})
    return Rule(f"operation {label}", bind, _SLOTS, _accept, _reduce, _build)


def _bind(func: Callable[..., Any], sampled: set[int], *args: Any, **kwargs: Any) -> dict[str, Any]:
    tensors = list({id(x): x for x in tensors_in((args, kwargs))}.values())
    slots = dict(zip(_SLOTS, tensors, strict=False))
    return slots | {
        "call": partial(_call, func, args, kwargs, [id(x) for x in tensors]),
        "values": tensors,
        "routes": (_together, _apart, _one_by_one) if _vectorizes(func) else (_apart, _one_by_one),
        "sampled": tuple(slot for slot, x in slots.items() if id(x) in sampled),
        "graphs": _Graphs(),
    }


def _vectorizes(func: Callable[..., Any]) -> bool:
    """Whether torch.func may be able to run an operation: not a function of the model's own that is of the old kind."""
    owner = getattr(func, "__self__", None)
    if not isinstance(owner, type) or not issubclass(owner, torch.autograd.Function):
        return True
    return owner.setup_context is not torch.autograd.Function.setup_context


def _call(func: Callable[..., Any], args: Any, kwargs: Any, places: Sequence[int], tensors: Sequence[Tensor]) -> Tensor:
    now = dict(zip(places, tensors, strict=True))
    found: Tensor = func(*replaced_in(args, now), **replaced_in(kwargs, now))
    return found


def _accept(use: Use) -> bool:
    extents = [use.arguments[slot].shape[:1].numel() for slot in use.arguments["sampled"] if slot in use.arguments]
    whole = all(extent % use.batch == 0 for extent in extents)
    fits = len(use.arguments["values"]) <= len(_SLOTS) and not any(view.transposed for view in use.views.values())
    return bool(extents) and use.layout == "batch" and whole and fits


def _reduce(use: Use, delta: Tensor) -> Tensor:
    return samples_first(delta, use)


def _build(use: Use, kept: Float[Tensor, "b r m *rest"]) -> list[Role]:
    values = [x.detach() for x in use.arguments["values"]]
    slots = [slot for slot in use.arguments["sampled"] if slot not in use.views]
    samples = [use.arguments[slot].unflatten(0, (use.batch, -1)) for slot in slots]
    parameters = [values[int(slot)] for slot in use.views]

    def run(own: Sequence[Tensor], theta: Sequence[Tensor]) -> Tensor:
        now = list(values)
        for slot, x in [*zip(slots, own, strict=True), *zip(use.views, theta, strict=True)]:
            now[int(slot)] = x
        return use.arguments["call"](now)

    routes = use.arguments["routes"]
    graphs: _Graphs = use.arguments["graphs"]
    graphs.keep = use.continues
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="There is a performance drop")
        found: Sequence[Tensor] | None = None
        for place, route in enumerate(routes):
            try:
                found = route(run, samples, parameters, kept, graphs)
            except (RuntimeError, ValueError, TypeError, NotImplementedError):
                graphs.kept.clear()
                if route is _one_by_one:
                    raise
            if found is not None:
                use.arguments["routes"] = routes[place:]  # further cotangents take the same way
                break
        assert found is not None
    if not use.continues:
        graphs.kept.clear()
    return [
        vector_block(view, gradients.reshape(*kept.shape[:2], -1).to(kept.dtype))
        for view, gradients in zip(use.views.values(), found, strict=True)
    ]


def _together(
    run: _Run, samples: list[Tensor], parameters: list[Tensor], kept: Tensor, graphs: _Graphs
) -> Sequence[Tensor]:
    def one(own: list[Tensor], rows: Tensor) -> tuple[Tensor, ...]:
        result, pull = vjp(lambda *theta: run(own, theta), *parameters)[:2]
        # One cotangent after another: torch 2.13 vectorizes the backward pass of cdist over cotangents wrongly, and
        # no cotangent takes another way than the one on which rules are settled.
        found = [pull(row.reshape(result.shape).to(result.dtype)) for row in rows]
        return tuple(torch.stack(each) for each in zip(*found, strict=True))

    together: tuple[Tensor, ...] = vmap(one)(samples, kept)
    return together


def _apart(
    run: _Run, samples: list[Tensor], parameters: list[Tensor], kept: Tensor, graphs: _Graphs
) -> Sequence[Tensor] | None:
    """One forward pass of all samples, and cotangents that are zero but for one of them; None where that is much."""
    count = len(kept)
    if kept.numel() * count > _SMALL:
        return None
    result, leaves = graphs.of(0, run, [x.flatten(0, 1) for x in samples], parameters)
    rows = kept.new_zeros(*kept.shape[:2], count, *kept.shape[2:])
    rows[range(count), :, range(count)] = kept
    rows = rows.reshape(-1, *result.shape).to(result.dtype)
    found = torch.autograd.grad(result, leaves, rows, retain_graph=graphs.keep, is_grads_batched=True)
    return [values.unflatten(0, kept.shape[:2]) for values in found]


def _one_by_one(
    run: _Run, samples: list[Tensor], parameters: list[Tensor], kept: Tensor, graphs: _Graphs
) -> Sequence[Tensor]:
    each = []
    vectorized = kept.shape[1] > _FEW
    for index, rows in enumerate(kept):
        result, leaves = graphs.of(index, run, [x[index] for x in samples], parameters)
        rows = rows.reshape(-1, *result.shape).to(result.dtype)
        if vectorized:
            together = pulled_back([result], leaves, [rows])
            if index or _adds_up(result, leaves, rows, together):
                each.append(together)
                continue
            vectorized = False
        found = [torch.autograd.grad(result, leaves, row, retain_graph=True, allow_unused=True) for row in rows]
        each.append([_stacked(leaf, [one[place] for one in found]) for place, leaf in enumerate(leaves)])
    return [torch.stack(parts) for parts in zip(*each, strict=True)]


def _adds_up(result: Tensor, leaves: list[Tensor], rows: Tensor, found: Sequence[Tensor]) -> bool:
    """Whether gradients of cotangents that torch pulled back together add up to that of their weighted sum."""
    weights = 1.0 + torch.arange(len(rows), dtype=rows.dtype, device=rows.device).sin()
    parts = torch.autograd.grad(result, leaves, torch.tensordot(weights, rows, 1), retain_graph=True, allow_unused=True)
    for leaf, part, values in zip(leaves, parts, found, strict=True):
        error = torch.tensordot(weights.to(values.dtype), values, 1) - (0 if part is None else part.to_dense())
        size = max(float(values.norm()) * len(rows) ** 0.5, 1e-300)
        if not float(error.norm()) <= 1e3 * torch.finfo(leaf.dtype).eps * size:
            return False
    return True


def _stacked(leaf: Tensor, parts: Sequence[Tensor | None]) -> Tensor:
    return torch.stack([torch.zeros_like(leaf) if part is None else part.to_dense() for part in parts])
