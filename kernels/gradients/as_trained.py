"""Gradients as a training step gives them: by autograd through the model as it is, whatever its own functions do.

A function of the model's own (``torch.autograd.Function``) may run a backward pass inside its own one, as layers do
that compute their activations again. It may ask for the gradients of parameters that are frozen for the moment, and
what it adds to ``.grad`` no path through the graph shows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from jaxtyping import Float
from torch import Tensor, nn

from kernels.inputs.loan import loan_of

_Parts = tuple[Tensor | None, ...]
Watch = Callable[[Sequence[Tensor]], AbstractContextManager[None]]
"""Entered with the parameters before a backward pass, to read their gradients as they come."""


def unwatched(_: Sequence[Tensor]) -> AbstractContextManager[None]:
    """Read no gradients."""
    return nullcontext()


def gradients_as_trained(
    model: nn.Module,
    chosen: Sequence[Tensor],
    forward: Callable[[], Float[Tensor, "b k"]],
    rows_of: Callable[[Float[Tensor, "b k"]], Sequence[Tensor]],
    watch: Watch = unwatched,
) -> tuple[Float[Tensor, "b k"], list[_Parts]]:
    """Run one forward pass and pull several cotangents back to some parameters.

    Parameters
    ----------
    model : nn.Module
        Its parameters may be frozen; their flags are put back.
    chosen : sequence of Tensor
        Parameters to differentiate by.
    forward : callable
        Gives the logits of some samples.
    rows_of : callable
        Gives the cotangents from the logits, each shaped like them.
    watch : callable
        Entered with ``chosen`` whenever the backward passes begin, maybe again from the beginning.

    Returns
    -------
    tuple
        Logits, and for each cotangent one gradient per parameter, None where there is no path.

    Examples
    --------
    >>> import torch
    >>> from kernels.gradients.as_trained import gradients_as_trained
    >>> model = torch.nn.Linear(2, 1, bias=False)
    >>> x = torch.tensor([[2.0, 3.0]])
    >>> gradients_as_trained(model, [model.weight], lambda: model(x), lambda logits: [torch.ones_like(logits)])[1]
    [(tensor([[2., 3.]]),)]
    """
    loan = loan_of(model)
    trained = list(model.parameters()) if loan is None else loan.trained
    if loan is not None and loan.nested:
        logits, found, _ = _differentiated(chosen, trained, forward, rows_of, watch)
        return logits, found
    try:
        logits, found, nested = _differentiated(chosen, (), forward, rows_of, watch)
    except ValueError as error:
        if "does not require grad" not in str(error):
            raise
        logits, found, nested = _differentiated(chosen, trained, forward, rows_of, watch)
    silent = any(part is None for parts in found for part in parts)
    if silent and not nested and not {id(p) for p in trained} <= {id(p) for p in chosen}:
        if loan is None or loan.nested is None:  # whether a backward pass through all of the model reaches them
            logits, found, nested = _differentiated(chosen, trained, forward, rows_of, watch)
            if loan is not None:
                loan.nested = nested
    if loan is not None and nested:
        loan.nested = True
    return logits, found


@contextmanager
def required(parameters: Iterable[Tensor]) -> Iterator[None]:
    """Make parameters require gradients; put their flags back."""
    with torch._C.DisableTorchFunction():  # a mode would be told of every question about a parameter
        flags = [(p, p.requires_grad) for p in parameters]
    try:
        with torch._C.DisableTorchFunction():
            for p, _ in flags:
                if p.is_floating_point() or p.is_complex():
                    p.requires_grad_(True)
        yield
    finally:
        with torch._C.DisableTorchFunction():
            for p, flag in flags:
                p.requires_grad_(flag)


def pulled_as_trained(
    logits: Tensor, leaves: Sequence[Tensor], rows: Tensor, *, keep: bool = False
) -> tuple[_Parts, bool]:
    """Gradients of ``(rows * logits).sum()``, and whether a backward pass inside the backward pass added to them.

    Raises
    ------
    ValueError
        If the model's own backward pass fails.
    """
    with torch._C.DisableTorchFunction():
        for leaf in leaves:
            leaf.grad = None
    try:
        found = torch.autograd.grad(logits, leaves, rows, retain_graph=keep, allow_unused=True)
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"the backward pass of the model alone, without kernels, fails on one sample ({error}): change the model "
            "or its inputs until `output.sum().backward()` works as they are passed here"
        ) from error
    with torch._C.DisableTorchFunction():
        if all(leaf.grad is None for leaf in leaves):
            return found, False
    both = [[part for part in (one, leaf.grad) if part is not None] for one, leaf in zip(found, leaves, strict=True)]
    for leaf in leaves:
        leaf.grad = None
    return tuple(parts[0] + parts[1] if len(parts) == 2 else next(iter(parts), None) for parts in both), True


def _differentiated(
    chosen: Sequence[Tensor],
    others: Iterable[Tensor],
    forward: Callable[[], Tensor],
    rows_of: Callable[[Tensor], Sequence[Tensor]],
    watch: Watch,
) -> tuple[Tensor, list[_Parts], bool]:
    known = {id(p) for p in chosen}
    leaves = [*chosen, *(p for p in others if id(p) not in known)]
    nested = False
    with required(leaves):
        with torch.enable_grad():
            logits = forward()
        rows = rows_of(logits)
        found: list[_Parts] = [(None,) * len(chosen)] * len(rows)
        if logits.requires_grad:
            with watch(chosen):
                for index, row in enumerate(rows):
                    parts, inside = pulled_as_trained(logits, leaves, row, keep=index + 1 < len(rows))
                    found[index], nested = parts[: len(chosen)], nested or inside
    return logits.detach(), found, nested
