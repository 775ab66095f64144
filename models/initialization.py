"""Seeded construction of networks and the initial distributions that the studies use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from models.configs import MLPConfig
from models.fields import choices_of

INITS = choices_of(MLPConfig, "init")


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw from torch's CPU generator as if freshly seeded, and put its state back afterwards.

    PyTorch and transformers initialize layers from the default generator and take no generator argument;
    inside this block their draws depend on ``seed`` alone and the caller's random state is left untouched.

    Parameters
    ----------
    seed : int
        Any non-negative integer; 0 is a seed like any other.

    Examples
    --------
    >>> import torch
    >>> from models import seeded
    >>> with seeded(7):
    ...     first = torch.nn.Linear(3, 3)
    >>> with seeded(7):
    ...     second = torch.nn.Linear(3, 3)
    >>> torch.equal(first.weight, second.weight)
    True
    """
    if seed < 0:
        raise ValueError(f"seed must be non-negative, got {seed}")
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def initialize_(module: nn.Module, init: str) -> None:
    """Redraw the weights of every linear and convolutional layer in place; call it inside :func:`seeded`.

    Parameters
    ----------
    module : nn.Module
        Layers are visited in registration order.
    init : {"default", "normal", "glorot"}
        ``default`` keeps what PyTorch's constructors drew (uniform, bound 1/sqrt(fan_in)); ``normal`` draws
        weights and biases from N(0, 1) (arXiv 2305.14585, public code of the small binary models); ``glorot``
        draws uniform weights of variance 2/(fan_in + fan_out) and zero biases (arXiv 2310.18612).

    Raises
    ------
    ValueError
        If ``init`` is unknown.
    """
    if init not in INITS:
        raise ValueError(f"unknown init {init!r}; choose one of {', '.join(INITS)}")
    if init == "default":
        return
    for layer in module.modules():
        if not isinstance(layer, nn.Linear | nn.Conv2d):
            continue
        if init == "normal":
            nn.init.normal_(layer.weight)
            if layer.bias is not None:
                nn.init.normal_(layer.bias)
        else:
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
