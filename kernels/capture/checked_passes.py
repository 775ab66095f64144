"""Which passes are checked, and how many samples of each: from nothing but the pass itself."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Sequence

import torch

from kernels.inputs.samples import Place
from kernels.rules.base import Use

MODES = {
    "every": "whole batches of every pass against the network's own gradient (about a training step more each)",
    "sampled": "a few samples of passes against the network's own gradient",
    "off": "no pass is checked against the network's own gradient",
}
SHARE = 64
"""One sample in so many of a pass is checked alone."""
SMALL = 8
"""Passes of fewer samples are checked now and then: one sample in so many."""
FIRST = 4
"""Samples that are checked alone of the first pass of each pattern; half as many of a larger one; see LARGE."""
LARGE = 2**22
"""Numbers in a network's parameters above which a sample alone costs as much as several in their batch.

Its gradient is written out whole, 17 MB and more, and torch convolves it without the fast code that batches have. So it
is one sample of a pattern's first pass, and of later passes one in SHARE also where that is less than one of a pass.
"""


def samples_checked(mode: str, place: Place, batch: int, numbers: int) -> tuple[int, torch.Generator]:
    """Count the samples of a pass that are checked alone, from nothing but the pass itself.

    Parameters
    ----------
    mode : str
        See :data:`MODES`.
    place : Place
        Which samples the pass holds. The first ones are the first of a pattern in any run, and always checked.
    batch : int
        Number of its samples.
    numbers : int
        Of the parameters that are differentiated by.

    Returns
    -------
    int, torch.Generator
        Number of samples, 0 where the pass is left out, and the pass's generator.
    """
    seeded = torch.Generator().manual_seed(zlib.crc32(place.words.encode()))
    least = SHARE if numbers > LARGE else SMALL
    if mode == "sampled" and batch < least:
        drawn = int(torch.randint(least, (), generator=seeded)) < batch
        return int(drawn or place.begins), seeded
    return 0 if mode == "off" else max(FIRST if mode == "every" else 1, batch // SHARE), seeded


def samples_of_first(batch: int, numbers: int) -> int:
    """Count the samples that are checked alone of the first pass of a pattern, with arguments as above."""
    if numbers > LARGE:
        return 1
    return FIRST if batch <= 16 else FIRST // 2


def pattern_of(uses: Sequence[Use]) -> str:
    """Name what the uses of a pass have in common with other passes: keys, layouts, batch and shapes."""
    told = repr([(use.key, use.layout, use.batch, tuple(use.shape)) for use in uses])
    return hashlib.blake2b(told.encode(), digest_size=8).hexdigest()
