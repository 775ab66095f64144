"""Refuse data that could be taken in two ways, and say how to pass them so that they cannot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Number
from typing import Any

import torch
from torch import Tensor

from kernels.inputs.outputs import Inputs

_NAMED = "{'input_ids': ids, 'attention_mask': mask, 'labels': labels}"


def is_number(value: Any) -> bool:
    """Whether a value is one number, of Python or of an array library."""
    return isinstance(value, Number) or getattr(value, "shape", None) == ()


def refuse_masks(inputs: Inputs, labels: Tensor, name: str) -> None:
    """Refuse a second part that belongs to the positions of the first: an attention mask, or a label per token."""
    if not isinstance(inputs, Tensor) or labels.ndim < 2:
        return
    alike = labels.shape[1] > 1 and labels.shape in (inputs.shape, inputs.shape[:2])
    if labels.ndim > 2 or labels.dtype == torch.bool or alike:
        raise ValueError(
            f"{name} data yields pairs whose second part has shape {tuple(labels.shape)}, so it is no label per "
            f"sample: name what the model takes, such as {_NAMED}, and leave out what it does not"
        )


def refuse_unequal(inputs: Inputs, labels: Tensor, name: str) -> None:
    """Refuse a batch with other numbers of samples and labels, such as one sample with its label."""
    count = len(next(iter(inputs.values()))) if isinstance(inputs, Mapping) else len(inputs)
    if labels.ndim and len(labels) != count:
        raise ValueError(
            f"{name} data yields a batch of {count} samples with {len(labels)} labels: every sample has one, and a "
            "single sample with its label needs a first axis, as in (x[None], y.reshape(1))"
        )


def no_batch(found: Any, name: str) -> str:
    """Message about something that holds no samples, or several inputs without names."""
    hint = "; here torch.as_tensor(array)" if hasattr(found, "__array__") else ""
    if isinstance(found, str):
        hint = "; here tokenizer(texts, padding=True, return_tensors='pt')"
    if isinstance(found, (tuple, list)):
        hint = f"; here a mapping that names what the model takes, such as {_NAMED}"
    return (
        f"{name} data yields {type(found).__name__}; a batch is a tensor, a mapping of tensors or a pair (inputs, "
        f"labels){hint}"
    )


def too_many_parts(count: int, name: str) -> str:
    """Message about a batch or sample of other than one or two parts."""
    return (
        f"{name} data yields tuples of {count}; a batch is a tensor, a mapping of tensors or a pair (inputs, labels): "
        f"turn each into a mapping that names what the model takes, such as {_NAMED}"
    )


def refuse_parts_of_a_batch(data: Sequence[Any], name: str) -> None:
    """Refuse a tuple of tensors, and a list of tensors that are no batches of the same thing."""
    if len(data) < 2 or not all(isinstance(part, Tensor) for part in data):
        return
    first = data[0]
    other = any(part.ndim != first.ndim or part.dtype != first.dtype for part in data)
    mask = len(data) <= 3 and all(part.shape == first.shape and not part.is_floating_point() for part in data)
    mask = mask and any(part.ndim > 1 and bool(((part == 0) | (part == 1)).all()) for part in data[1:])
    flat = all(part.ndim < 2 for part in data)
    if isinstance(data, tuple) or other or mask or flat:
        raise TypeError(
            f"{name} data is a {type(data).__name__} of {len(data)} tensors, which may be inputs and labels, or "
            "batches, or samples: pass inputs alone with labels=..., a mapping such as "
            f"{_NAMED}, torch.cat(batches), or torch.stack(samples)"
        )


def refuse_flat_elements(elements: Sequence[Any], name: str) -> None:
    """Refuse elements that may be samples, or batches of numbers: all that they hold has one axis."""
    if all(isinstance(one, list) and one and all(map(is_number, one)) for one in elements):
        if not any(isinstance(value, Tensor) for value in elements[0]):
            raise TypeError(f"{name} data holds lists of numbers: pass torch.tensor(data), with one row per sample")
    held = [
        [one] if isinstance(one, Tensor) else list(one.values()) if isinstance(one, Mapping) else one
        for one in elements
    ]
    flat = all(
        isinstance(parts, (tuple, list)) and parts and all(isinstance(x, Tensor) and x.ndim == 1 for x in parts)
        for parts in held
    )
    if flat and any(len(x) > 1 for parts in held for x in parts):
        raise TypeError(
            f"{name} data holds flat tensors, of which each may be a sample or a batch of numbers: pass "
            f"torch.stack(samples) or torch.cat(batches), with labels=..., or a mapping of these such as {_NAMED}"
        )
