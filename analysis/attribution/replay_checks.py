"""What a training must be so that it can be repeated with other weights of its rows, and differentiated by them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from jaxtyping import Int
from torch import Tensor, nn

Batch = tuple[Mapping[str, Tensor], Tensor, Int[Tensor, " b"]]
"""What the network reads, the targets, and the places of these rows among all training rows."""


def require_steps(rates: Sequence[float], together: int, trained: int) -> None:
    """Refuse a training without steps, or without parameters that they move.

    Examples
    --------
    >>> from analysis.attribution.replay_checks import require_steps
    >>> require_steps([0.1], together=1, trained=0)
    Traceback (most recent call last):
        ...
    ValueError: no parameter of the network needs a gradient, so that no row moves anything
    """
    if not trained:
        raise ValueError("no parameter of the network needs a gradient, so that no row moves anything")
    if not rates or not all(map(math.isfinite, rates)) or together < 1:
        raise ValueError(
            f"a replay needs a finite learning rate of each step and together at least 1, got {len(rates)} rates and "
            f"together={together}"
        )


def require_row_weights(row_weights: Tensor, axes: int, *, rows: int, dtype: torch.dtype) -> None:
    """Refuse weights that are not one finite number for each training row, in the dtype of the network."""
    shape = tuple(row_weights.shape)
    if len(shape) != axes or shape[-1] != rows or row_weights.dtype != dtype:
        raise ValueError(
            f"row_weights of shape {shape} and {row_weights.dtype} must have {rows} numbers, one for each training "
            f"row, of the network's {dtype}"
        )
    if not bool(row_weights.isfinite().all()):
        raise ValueError("row_weights holds values that are NaN or infinite")


def require_same_batches(batch: Callable[[int], Batch], rows: int) -> None:
    """Refuse batches that are drawn anew at each call, and rows that cannot be weighted."""
    (inputs, targets, places), (again, _, others) = batch(0), batch(0)
    if broken := [name for name, value in inputs.items() if not bool(value.isfinite().all())]:
        raise ValueError(f"{broken[0]!r} of the first batch holds values that are NaN or infinite")
    if not torch.equal(places, others) or any(not torch.equal(value, again[name]) for name, value in inputs.items()):
        raise ValueError(
            "batch(0) gives other rows or inputs at every call, and a replay makes each step several times: draw what "
            "is random in it from a generator that is seeded by the step"
        )
    if len(places) != len(targets) or not 0 <= int(places.min()) <= int(places.max()) < rows:
        raise ValueError(
            f"the first batch has {len(targets)} targets and {len(places)} rows from {int(places.min())} to "
            f"{int(places.max())}: each target needs its row, below rows={rows}"
        )


def require_no_hidden_state(network: nn.Module, outputs: Callable[[], Tensor]) -> None:
    """Refuse a network whose outputs in training draw random numbers, or change what is no weight.

    Parameters
    ----------
    network : nn.Module
        Its buffers are as before afterwards.
    outputs : callable
        Its outputs of one batch, in training mode.
    """
    buffers = {name: value.clone() for name, value in network.named_buffers()}
    found = []
    with torch.no_grad(), torch.random.fork_rng():
        for seed in (0, 1):
            torch.manual_seed(seed)
            found.append(outputs())
    moved = [name for name, value in network.named_buffers() if not torch.equal(value, buffers[name])]
    with torch.no_grad():
        for name, value in network.named_buffers():
            value.copy_(buffers[name])
    if moved:
        raise ValueError(
            f"training changes {moved[0]}, and the replay follows weights only: take a network without batch "
            "normalization (model.norm=frozen where it has the choice)"
        )
    if not torch.equal(*found):
        raise ValueError("training draws random masks, which a replay cannot follow: set the dropout to 0")


def require_measures(values: Tensor) -> None:
    """Refuse what cannot be differentiated number by number."""
    if values.ndim != 1 or not values.requires_grad or not bool(values.isfinite().all()):
        given = f"the shape {tuple(values.shape)}" if values.requires_grad else "a constant"
        raise ValueError(
            f"measure must give a vector of finite numbers that depend on the weights, and it gave {given}"
        )
