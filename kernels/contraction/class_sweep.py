"""Divide the classes of a trace kernel among several contractions that share one forward pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from kernels.contraction.forms import LayerForm

ALLOWANCE = 0.2
"""Share of all work that may be spent again to keep less in memory."""

Layers = tuple[LayerForm, ...]


def sweep_classes(
    layers_for: Callable[[int], Layers], *, cotangents: int, pairs: float, samples: int, forward_mac: float
) -> tuple[int, Layers]:
    """Choose chunks of classes for a pass whose graph is kept: the most that repeat little work.

    Only one chunk's operands are held at a time. What is repeated is the Gram of the inputs in each chunk, and with
    fewer cotangents together another form of a layer may be the cheapest.

    Parameters
    ----------
    layers_for : callable
        Cheapest forms for a number of cotangents.
    cotangents : int
        Of the kernel.
    pairs : float
        Pairs of samples.
    samples : int
        Samples whose passes are made.
    forward_mac : float
        Multiply-adds of one sample's forward pass.

    Returns
    -------
    int, tuple of LayerForm
        Number of chunks, and forms with the work of all chunks and the storage of one.
    """
    passes = (1 + cotangents) * samples * forward_mac
    choice: tuple[int, Layers] = (1, layers_for(cotangents))
    limit = (1 + ALLOWANCE) * (passes + _work(choice[1], pairs, samples))
    for chunks in range(2, cotangents + 1):
        together = -(-cotangents // chunks)
        if -(-cotangents // together) != chunks:
            continue
        layers = tuple(
            replace(
                one,
                pair_mac=chunks * one.pair_mac,
                pair_traffic=chunks * one.pair_traffic,
                sample_mac=chunks * one.sample_mac,
            )
            for one in layers_for(together)
        )
        if passes + _work(layers, pairs, samples) <= limit:
            choice = (chunks, layers)
    return choice


def _work(layers: Layers, pairs: float, samples: int) -> float:
    return sum(one.cost(pairs, samples) for one in layers)
