r"""Per-layer Jacobians, and Fisher blocks :math:`J_\ell^T J_\ell` and kernel parts :math:`J_\ell J_\ell^T`.

Both blocks have the same non-zero eigenvalues; the smaller one is the cheaper way to a layer's spectrum.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Unpack

import torch
from jaxtyping import Float
from torch import Tensor, nn

from kernels.capture.factor_stream import layer_factors
from kernels.gradients.fallback import looped_gradients, vmapped_gradients
from kernels.gradients.vmap_hazards import vmap_hazard
from kernels.inputs.loan import Loan
from kernels.inputs.options import PassOptions, documents
from kernels.inputs.outputs import Cotangent, call_logits, cotangent_rows, needs_labels
from kernels.inputs.samples import Samples, require_finite_gradients
from kernels.machine.memory import parse_memory
from kernels.machine.precision import float32_products, precision_named


@dataclass(frozen=True)
class LayerBlock:
    """Second-moment matrix of one parameter's gradients.

    Attributes
    ----------
    matrix : Tensor, shape (p, p) or (N * R, N * R)
        Fisher block, or kernel part with rows sample by sample, cotangent by cotangent.
    is_kernel : bool
        Which of the two.
    """

    matrix: Float[Tensor, "d d"]
    is_kernel: bool


@documents(PassOptions)
@float32_products()
def layer_jacobians(
    model: nn.Module,
    data: Any,
    *,
    cotangent: Cotangent = "class",
    labels: Tensor | None = None,
    memory: str | int | None = None,
    **options: Unpack[PassOptions],
) -> dict[str, Float[Tensor, "n r p"]]:
    """Gradients of every sample and cotangent by parameter name, flattened.

    Parameters
    ----------
    model : nn.Module
        In evaluation mode.
    data : Tensor, mapping of tensors, or DataLoader
        As for :func:`kernels.kernel_matrix`.
    cotangent : str or callable
        ``class`` for the Jacobian of all logits, (N, C, p); ``sum``, ``loss``, ``log_odds`` for one row per sample.
    labels : Tensor, optional
        Class indices, where the cotangent needs them.
    memory : str or int, optional
        Budget for the result.
    **options : PassOptions
        Layers, arithmetic, samples per pass and more: see the section Options.

    Raises
    ------
    MemoryError
        If the result exceeds the budget, with the sizes.

    Examples
    --------
    >>> import torch
    >>> from kernels import layer_jacobians
    >>> jacobians = layer_jacobians(torch.nn.Linear(2, 3), torch.eye(2))
    >>> {name: tuple(values.shape) for name, values in jacobians.items()}  # samples, classes, parameters
    {'weight': (2, 3, 6), 'bias': (2, 3, 3)}
    """
    samples = Samples(data, labels, "given")
    found: dict[str, Tensor] = {}
    for part in layer_factors(model, samples, cotangent=cotangent, **options):
        if not found:
            _check_memory(part.blocks, samples.count, memory, next(model.parameters()).device)
        for block in part.blocks:
            for name, gradient in block.gradients().items():
                flat = gradient.reshape(*gradient.shape[:2], -1)  # a scalar parameter has no axis
                require_finite_gradients(flat, name, "given", part.rows.start)
                if name not in found:
                    found[name] = flat.new_zeros(samples.count, *flat.shape[1:], device="cpu")
                found[name][part.rows] += flat.cpu()
    return found


def _check_memory(blocks: Any, samples: int, memory: str | int | None, device: torch.device) -> None:
    sizes = {n: g.numel() * g.element_size() for b in blocks for n, g in b.take(slice(0, 1)).gradients().items()}
    needed, budget = samples * sum(sizes.values()), parse_memory(memory, device)
    if needed > budget:
        largest = max(sizes, key=lambda name: sizes[name])
        raise MemoryError(
            f"the Jacobian of {samples} samples takes {needed / 2**30:.1f} GiB, the budget is {budget / 2**30:.1f}: "
            f"choose layers= (largest: {largest}), fewer samples, or kernel_features with a sketch"
        )


@documents(PassOptions)
@float32_products()
def fisher_blocks(
    model: nn.Module,
    data: Any,
    *,
    smaller: bool = False,
    cotangent: Cotangent = "class",
    labels: Tensor | None = None,
    memory: str | int | None = None,
    **options: Unpack[PassOptions],
) -> dict[str, LayerBlock]:
    r"""Fisher block :math:`\sum_{n r} g_{nr} g_{nr}^T` of every parameter.

    Parameters
    ----------
    model, data, cotangent, labels
        As for :func:`layer_jacobians`.
    smaller : bool
        Give the kernel part instead where a parameter has more entries than there are gradients: the non-zero
        eigenvalues are the same.
    memory : str or int, optional
        Budget for the Jacobian, and again for the blocks.
    **options : PassOptions
        Layers, arithmetic, samples per pass and more: see the section Options.

    Raises
    ------
    MemoryError
        If Jacobian or blocks exceed the budget.

    Examples
    --------
    >>> import torch
    >>> from kernels import fisher_blocks
    >>> blocks = fisher_blocks(torch.nn.Linear(2, 1), torch.tensor([[1.0, 0.0], [1.0, 2.0]]))
    >>> blocks["weight"].matrix  # x.T @ x
    tensor([[2., 2.],
            [2., 4.]])
    """
    jacobians = layer_jacobians(model, data, cotangent=cotangent, labels=labels, memory=memory, **options)
    budget = parse_memory(memory, next(model.parameters()).device)
    found: dict[str, LayerBlock] = {}
    used = 0
    for name, jacobian in jacobians.items():
        rows = jacobian.flatten(0, 1)
        is_kernel = smaller and rows.shape[1] > rows.shape[0]
        used += rows.shape[0 if is_kernel else 1] ** 2 * rows.element_size()
        if used > budget:
            raise MemoryError(
                f"the block of {name} has {rows.shape[1]} x {rows.shape[1]} entries and exceeds the budget of "
                f"{budget / 2**30:.1f} GiB: pass smaller=True, or leave it out with layers="
            )
        found[name] = LayerBlock(rows @ rows.T if is_kernel else rows.T @ rows, is_kernel)
    return found


@float32_products()
def autograd_kernel(
    model: nn.Module,
    data: Any,
    *,
    method: str = "loop",
    cotangent: Cotangent = "sum",
    labels: Tensor | None = None,
    layerwise: bool = False,
    precision: str = "float32",
    chunk: int = 16,
) -> Tensor | dict[str, Tensor]:
    """Kernel by explicit per-sample gradients through autograd alone: plain methods with which to compare the engine.

    Parameters
    ----------
    model : nn.Module
        In evaluation mode.
    data : Tensor, mapping of tensors, or DataLoader
        As for :func:`kernels.kernel_matrix`.
    method : {"loop", "vmap"}
        One backward per sample and cotangent, or ``torch.func`` over ``chunk`` samples at a time.
    cotangent : str or callable
        ``sum`` for pNTK, ``class`` for trNTK, as in :func:`kernels.layer_factors`.
    labels : Tensor, optional
        Class indices, where the cotangent needs them.
    layerwise : bool
        One kernel per parameter instead of their sum.
    precision : str
        As for :func:`kernels.kernel_matrix`.
    chunk : int
        Samples per ``vmap``.

    Returns
    -------
    Tensor, shape (N, N), or dict of str to Tensor
        Unnormalized; gradients of all samples are held at once.

    Examples
    --------
    >>> import torch
    >>> from kernels import autograd_kernel
    >>> autograd_kernel(torch.nn.Linear(2, 1), torch.eye(2))  # x @ x.T + 1
    tensor([[2., 1.],
            [1., 2.]])
    """
    if method not in ("loop", "vmap"):
        raise ValueError(f"unknown method {method!r}: use 'loop' or 'vmap'")
    if not isinstance(chunk, int) or chunk < 1:
        raise ValueError(f"chunk={chunk} must be a whole number of at least 1")
    arithmetic = precision_named(precision)
    loan = Loan(model, arithmetic.passes, refuse=arithmetic.refuse_narrowing)
    with loan.lent() as own, arithmetic.strict_passes():
        device, samples = loan.device, Samples(data, labels, "given")
        names = tuple(name for name, p in own.named_parameters() if p.requires_grad)
        if method == "vmap":
            hazard = vmap_hazard(own, names, samples.first(1, device, arithmetic.passes), None)
            if hazard is not None:
                raise ValueError(f"the model's forward pass {hazard}, which torch.vmap cannot run: use method='loop'")
        route = vmapped_gradients if method == "vmap" else looped_gradients
        rows: dict[str, list[Tensor]] = {name: [] for name in names}
        for part, inputs in samples.batches(0, samples.count, chunk, device, arithmetic.passes):
            known = None if samples.labels is None else samples.labels[part].to(device)
            logits = call_logits(own, inputs).detach()
            if needs_labels(cotangent):
                samples.check_labels(logits.shape[1])
            found = route(own, names, inputs, cotangent_rows(logits, known, cotangent))
            for name in names:
                rows[name].append(found[name].flatten(1))
    parts = {name: (joined := torch.cat(values)) @ joined.T for name, values in rows.items()}
    return parts if layerwise else torch.stack(list(parts.values())).sum(0)
