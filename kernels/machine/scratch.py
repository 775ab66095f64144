"""Scratch memory that is used again: pages that are new to the process cost as much as the products that fill them.

Arrays of more than 32 MiB are given back to the system as soon as they are freed, and smaller ones once much memory
is free. What is formed anew for every batch and layer therefore lies in memory that is kept for as long as a kernel's
tiles are filled.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count

from torch import Tensor

Place = Callable[[int], Tensor]
"""Gives flat memory for so many numbers."""

_pads = threading.local()


@contextmanager
def scratch_kept() -> Iterator[None]:
    """Keep what :func:`reused` gives until the outermost such block of this thread ends."""
    if getattr(_pads, "kept", None) is not None:
        yield
        return
    _pads.kept = {}
    try:
        yield
    finally:
        del _pads.kept


def reused(like: Tensor, numbers: int, name: str) -> Tensor:
    """Memory for some numbers, the same for every caller of a thread and name within :func:`scratch_kept`."""
    kept = getattr(_pads, "kept", None)
    if kept is None:
        return like.new_empty(numbers)
    place = (like.dtype, like.device, name)
    if place not in kept or kept[place].numel() < numbers:
        kept.pop(place, None)
        kept[place] = like.new_empty(numbers)
    found: Tensor = kept[place][:numbers]
    return found


def give_back(side: str) -> None:
    """Free the places of one side: what follows has no use for them."""
    kept = getattr(_pads, "kept", None) or {}
    for place in [place for place in kept if place[2].startswith(f"{side} ")]:
        del kept[place]


def places_of(like: Tensor, side: str) -> Place:
    """Give places for the images of one side, padded and unfolded, every one its own."""
    numbered = count()
    return lambda numbers: reused(like, numbers, f"{side} {next(numbered)}")
