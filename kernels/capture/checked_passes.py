"""Which passes are checked, and how many samples of each: from nothing but the pass itself."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Sequence

import torch

from kernels.rules.base import Use

MODES = {
    "every": "whole batches of every pass against the network's own gradient (about a training step more each)",
    "sampled": "a few samples of each pass against the network's own gradient",
    "off": "no pass is checked against the network's own gradient",
}
SHARE = 64
"""One sample in so many of a pass is checked alone."""
SMALL = 8
"""Passes of fewer samples are checked now and then: one sample in so many."""
FIRST = 4
"""Samples that are checked alone of the first pass of each pattern; half as many where a sample costs more."""


def samples_checked(mode: str, place: str, batch: int) -> tuple[int, torch.Generator]:
    """Count the samples of a pass that are checked alone, from nothing but the pass itself.

    Parameters
    ----------
    mode, place : str
        See :data:`MODES`, and which samples the pass holds.
    batch : int
        Number of its samples.

    Returns
    -------
    int, torch.Generator
        Number of samples, 0 where the pass is left out, and the pass's generator.
    """
    seeded = torch.Generator().manual_seed(zlib.crc32(place.encode()))
    if mode == "sampled" and batch < SMALL:
        return int(int(torch.randint(SMALL, (), generator=seeded)) < batch), seeded
    return 0 if mode == "off" else max(FIRST if mode == "every" else 1, batch // SHARE), seeded


def pattern_of(uses: Sequence[Use]) -> str:
    """Name what the uses of a pass have in common with other passes: keys, layouts, batch and shapes."""
    told = repr([(use.key, use.layout, use.batch, tuple(use.shape)) for use in uses])
    return hashlib.blake2b(told.encode(), digest_size=8).hexdigest()
