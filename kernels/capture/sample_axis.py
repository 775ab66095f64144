"""Which axis of an operation's result holds the samples: the one that grows with the batch.

One pass cannot tell: with three samples of three tokens every axis has three entries. The shapes that the same
operation has at two batch sizes can.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from kernels.rules.base import Use


@dataclass
class Shapes:
    """Shapes of the uses of one pass of ``batch`` samples, by use key."""

    batch: int
    by_key: dict[tuple[Any, ...], torch.Size] = field(default_factory=dict)


def layout_between(shape: torch.Size, batch: int, seen: torch.Size | None, seen_batch: int) -> str:
    """Layout of a use, see :class:`kernels.rules.base.Use`; ``"none"`` where no single axis holds the samples.

    Parameters
    ----------
    shape : torch.Size
        With ``batch`` samples, where results without samples were spread over a new first axis.
    seen : torch.Size or None
        With ``seen_batch`` other samples, where nothing was spread; None where the use did not occur.

    Examples
    --------
    >>> from torch import Size
    >>> from kernels.capture.sample_axis import layout_between
    >>> layout_between(Size([3, 3, 4]), 3, Size([3, 2, 4]), 2), layout_between(Size([3, 4]), 3, Size([3, 4]), 2)
    ('second', 'shared')
    """
    if seen is None:
        return "none"
    if shape == seen:
        return "shared"
    if shape == (batch, *seen) or seen[:1] == (1,) and shape == (batch, *seen[1:]):
        return "batch"  # what it read had been spread
    grown = [axis for axis, (ours, theirs) in enumerate(zip(shape, seen, strict=False)) if ours != theirs]
    if len(shape) != len(seen) or len(grown) != 1:
        return "none"
    (axis,) = grown
    if shape[axis] * seen_batch != seen[axis] * batch or shape[axis] % batch:
        return "none"
    if axis == 0:
        return "batch"
    return "second" if axis == 1 and shape[1] == batch and len(shape) > 2 else "none"


def likely_layout(shape: torch.Size, batch: int) -> str:
    """Guess from one shape alone, until the use has been settled."""
    if len(shape) > 2 and shape[1] == batch and shape[0] != batch:
        return "second"
    return "batch" if shape[:1].numel() % batch == 0 else "shared"


def other_layouts(use: Use) -> list[str]:
    """Layouts with the same shapes: positions may be folded behind the samples or before them."""
    return ["minor"] if use.layout == "batch" and use.shape[0] > use.batch else []
