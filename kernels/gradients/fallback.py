"""Per-sample gradients of the parameters that no rule covers, through ``torch.func`` or one sample at a time.

Exact for any model whose samples do not interact: packed sequences, rows that the data pick, bare parameters in
unusual places. Where ``vmap`` cannot trace the model (data-dependent control flow, operations without a batching rule),
samples are differentiated one by one.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import vjp, vmap

from kernels.gradients.as_trained import gradients_as_trained
from kernels.gradients.twice import logits_to_differentiate
from kernels.gradients.vmap_hazards import Called, vmap_hazard
from kernels.inputs.loan import after_forward
from kernels.inputs.outputs import Inputs, Output, batch_size, call_logits
from kernels.machine.process_state import replaced_here


def sample(inputs: Inputs, index: slice | Tensor) -> Inputs:
    """Slice or index a batch of inputs along its samples."""
    if isinstance(inputs, Mapping):
        return {name: _rows(value, index) for name, value in inputs.items()}
    return _rows(inputs, index)


def _rows(values: Tensor, index: slice | Tensor) -> Tensor:
    return values[index.to(values.device) if isinstance(index, Tensor) else index]


def try_vmap(
    model: nn.Module,
    names: tuple[str, ...],
    inputs: Inputs,
    cotangents: Float[Tensor, "b r k"],
    output: Output,
    *,
    watch: bool = True,
) -> dict[str, Tensor] | None:
    """Gradients by the vectorized route, or None where torch cannot vectorize this model.

    A model that has not been run by this route is to be watched first, see :mod:`kernels.gradients.vmap_hazards`.
    """
    if watch and vmap_hazard(model, names, sample(inputs, slice(0, 1)), output) is not None:
        return None
    try:
        return vmapped_gradients(model, names, inputs, cotangents, output)
    except (RuntimeError, ValueError, TypeError, NotImplementedError):
        return None


def vmapped_gradients(
    model: nn.Module,
    names: tuple[str, ...],
    inputs: Inputs,
    cotangents: Float[Tensor, "b r k"],
    output: Output = None,
) -> dict[str, Tensor]:
    """Gradients of every ``cotangents[b, r] @ logits[b]`` with respect to ``names``, all samples at once.

    Returns
    -------
    dict of str to Tensor, shape (B, R, D)
        Flattened per-sample gradients.
    """
    state = dict(model.named_parameters())
    chosen = {name: state[name].detach() for name in names}

    def gradients(one: Inputs, rows: Tensor) -> dict[str, Tensor]:
        def logits(values: dict[str, Tensor]) -> Tensor:
            single = (
                {key: value.unsqueeze(0) for key, value in one.items()}
                if isinstance(one, Mapping)
                else one.unsqueeze(0)
            )
            return call_logits(Called(model, values), single, output)[0]

        pull = vjp(logits, chosen)[1]
        pulled = [pull(row)[0] for row in rows]
        return {name: torch.stack([one[name] for one in pulled]) for name in names}

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="There is a performance drop")
        try:
            with _masks_written_out():
                every = vmap(gradients, randomness="different")  # what is drawn for a sample alone is drawn for each
                found = every(dict(inputs) if isinstance(inputs, Mapping) else inputs, cotangents)
        finally:
            after_forward(model)
    return {name: found[name].detach().reshape(*cotangents.shape[:2], -1) for name in names}


@contextmanager
def _masks_written_out() -> Iterator[None]:
    """Keep Hugging Face from reading masks, to leave out those that hide nothing, where they cannot be read."""
    place = sys.modules.get("transformers.masking_utils")
    with nullcontext() if place is None else replaced_here(place, "is_tracing", lambda *_: True):
        yield


def looped_gradients(
    model: nn.Module,
    names: tuple[str, ...],
    inputs: Inputs,
    cotangents: Float[Tensor, "b r k"],
    output: Output = None,
) -> dict[str, Tensor]:
    """As :func:`vmapped_gradients`, one forward per sample and one backward per cotangent."""
    state = dict(model.named_parameters())
    chosen = [state[name] for name in names]
    collected: dict[str, list[Tensor]] = {name: [] for name in names}
    for index in range(batch_size(inputs)):
        one = sample(inputs, slice(index, index + 1))
        rows = list(cotangents[index].unsqueeze(1))
        forward = partial(logits_to_differentiate, model, one, output)
        every = gradients_as_trained(model, chosen, forward, partial(_given, rows))[1]
        for name, p, values in zip(names, chosen, zip(*every, strict=True), strict=True):
            collected[name].append(torch.stack([_dense(g, p) for g in values]).reshape(len(rows), -1))
    return {name: torch.stack(values) for name, values in collected.items()}


def _given(rows: list[Tensor], _: Tensor) -> list[Tensor]:
    return rows


def _dense(gradient: Tensor | None, parameter: Tensor) -> Tensor:
    if gradient is None:
        return torch.zeros_like(parameter)
    return gradient.to_dense() if gradient.layout != torch.strided else gradient
