"""Read a tensor, a mapping of tensors or a loader, and give batches in a fixed order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
import xxhash
from torch import Tensor
from torch.utils.data import DataLoader, RandomSampler, SubsetRandomSampler, WeightedRandomSampler

from kernels.inputs.outputs import Inputs, batch_size

Labels = Tensor | np.ndarray | Sequence[int]

PROBE = 3
"""Samples on which a model is tried out before a kernel is planned."""

_LABEL_KEYS = ("labels", "label")


class Samples:
    """All samples of one data set, in order, with their labels.

    Parameters
    ----------
    data : Tensor, mapping of tensors, or iterable of batches
        A loader yields tensors, mappings, or pairs (inputs, labels). ``labels`` inside a mapping are taken out of the
        model's inputs.
    labels : Tensor, array or sequence, shape (N,), optional
        Class indices; they win over labels in the data.
    name : str
        ``"train"`` or ``"test"``, for messages.

    Raises
    ------
    ValueError
        For a shuffling or augmenting loader, no samples, unequal lengths, or non-finite inputs.

    Examples
    --------
    >>> import torch
    >>> from kernels.inputs import Samples
    >>> samples = Samples({"x": torch.eye(3), "labels": torch.tensor([0, 1, 1])})
    >>> samples.count, samples.labels
    (3, tensor([0, 1, 1]))
    """

    def __init__(self, data: Any, labels: Labels | None = None, name: str = "train") -> None:
        self.name = name
        if isinstance(data, Tensor) or isinstance(data, Mapping):
            batches = [data]
        elif isinstance(data, Iterable) and not hasattr(data, "__array__"):
            _refuse_shuffling(data, name)
            batches = list(data)
            _compare_passes(data, batches, name)
        else:
            hint = ", here torch.from_numpy(array)" if hasattr(data, "__array__") else ""
            raise TypeError(
                f"{name} data is {type(data).__name__}: pass a tensor, a mapping of tensors or a DataLoader{hint}"
            )
        split = [_split_batch(batch, name) for batch in batches]
        if not split or not sum(batch_size(inputs) for inputs, _ in split):
            raise ValueError(f"{name} data holds no samples")
        found = [target for _, target in split]
        self._batches = _join([inputs for inputs, _ in split])
        self._starts = [0]
        for inputs in self._batches:
            self._starts.append(self._starts[-1] + batch_size(inputs))
        self.count = self._starts[-1]
        self.labels = None if labels is None else torch.as_tensor(labels)
        if labels is None and all(target is not None for target in found):
            self.labels = torch.cat([target for target in found if target is not None])
        if self.labels is not None and len(self.labels) != self.count:
            raise ValueError(f"{len(self.labels)} labels for {self.count} {name} samples")
        self._check_finite()

    def batches(
        self, start: int, stop: int, size: int, device: torch.device, dtype: torch.dtype
    ) -> Iterator[tuple[slice, Inputs]]:
        """Yield (rows, inputs) of samples ``[start, stop)``, at most ``size`` at a time, on a device.

        Batches of a loader that differ in shape (text padded per batch) are never joined.
        """
        for first, inputs in zip(self._starts[:-1], self._batches, strict=True):
            low, high = max(start, first), min(stop, first + batch_size(inputs))
            for begin in range(low, high, size):
                end = min(begin + size, high)
                piece = slice(begin - first, end - first)
                if isinstance(inputs, Mapping):
                    moved: Inputs = {k: _move(v[piece], device, dtype) for k, v in inputs.items()}
                else:
                    moved = _move(inputs[piece], device, dtype)
                yield slice(begin, end), moved

    def first(self, count: int, device: torch.device, dtype: torch.dtype) -> Inputs:
        """Return up to ``count`` samples from the beginning."""
        return next(self.batches(0, self.count, count, device, dtype))[1]

    @cached_property
    def hashes(self) -> list[bytes]:
        """One digest per sample of its inputs."""
        found = []
        for inputs in self._batches:
            columns = [inputs] if isinstance(inputs, Tensor) else [inputs[key] for key in sorted(inputs)]
            for first, *others in zip(*map(_bytes_view, columns), strict=True):
                digest = xxhash.xxh3_128(first)
                for more in others:
                    digest.update(more)
                found.append(digest.digest())
        return found

    def digest(self) -> str:
        """Digest of all inputs in order, and of the labels."""
        total = xxhash.xxh3_64()
        for one in self.hashes:
            total.update(one)
        if self.labels is not None:
            total.update(_bytes_view(self.labels).tobytes())
        return total.hexdigest()

    def _check_finite(self) -> None:
        for first, inputs in zip(self._starts[:-1], self._batches, strict=True):
            columns = {"": inputs} if isinstance(inputs, Tensor) else inputs
            for key, values in columns.items():
                bad = first_not_finite(values) if values.is_floating_point() else None
                if bad is not None:
                    raise ValueError(f"{self.name} sample {first + bad} has NaN or infinite {key or 'inputs'}")


def first_not_finite(values: Tensor) -> int | None:
    """Return the first row that holds NaN or infinity, if any does."""
    if bool(values.sum().isfinite()):  # cheap; finite numbers may yet have a sum that is not
        return None
    bad = torch.nonzero(~values.isfinite().reshape(len(values), -1).all(1))
    return int(bad[0]) if bad.numel() else None


def _split_batch(batch: Any, name: str) -> tuple[Inputs, Tensor | None]:
    labels = None
    if isinstance(batch, (tuple, list)) and len(batch) in (1, 2):
        labels = batch[1] if len(batch) == 2 else None
        batch = batch[0]
    if isinstance(batch, Mapping):
        inputs = dict(batch)
        for key in _LABEL_KEYS:
            if key in inputs:
                found = inputs.pop(key)
                labels = found if labels is None else labels
        for key, value in inputs.items():
            _require_samples(value, f"{name} input {key!r}")
        sizes = {len(value) for value in inputs.values()}
        if not sizes:
            raise ValueError(f"{name} data holds no samples: the mapping has no inputs")
        if len(sizes) != 1:
            raise ValueError(f"{name} inputs have unequal numbers of samples: {sorted(sizes)}")
        batch = inputs
    elif not isinstance(batch, Tensor):
        raise TypeError(
            f"{name} data yields {type(batch).__name__}; a batch is a tensor, a mapping of tensors or a pair "
            "(inputs, labels)"
        )
    else:
        _require_samples(batch, f"{name} data")
    if labels is not None and not isinstance(labels, Tensor):
        labels = torch.as_tensor(labels)
    return batch, labels


def _require_samples(value: Any, what: str) -> None:
    """Require a dense tensor whose first axis counts samples."""
    if not isinstance(value, Tensor):
        raise TypeError(f"{what} is {type(value).__name__}, not a tensor: convert it, or leave it out of the batches")
    if value.ndim == 0 or value.layout != torch.strided:
        form = "a single number" if value.ndim == 0 else f"a tensor of layout {value.layout}"
        raise ValueError(f"{what} is {form}; kernels need a dense tensor with one row per sample")


def _join(batches: list[Inputs]) -> list[Inputs]:
    """Concatenate batches of one shape into a single one; keep them apart otherwise."""
    if len(batches) == 1:
        return batches
    first = batches[0]
    if isinstance(first, Mapping):
        rest = [batch for batch in batches if isinstance(batch, Mapping)]
        shapes = {tuple((key, value.shape[1:]) for key, value in sorted(batch.items())) for batch in rest}
        if len(shapes) == 1:
            return [{key: torch.cat([batch[key] for batch in rest]) for key in first}]
        return batches
    tensors = [batch for batch in batches if isinstance(batch, Tensor)]
    return [torch.cat(tensors)] if len({batch.shape[1:] for batch in tensors}) == 1 else batches


def _refuse_shuffling(data: Any, name: str) -> None:
    if isinstance(data, DataLoader) and isinstance(
        data.sampler, (RandomSampler, SubsetRandomSampler, WeightedRandomSampler)
    ):
        raise ValueError(
            f"the {name} loader shuffles ({type(data.sampler).__name__}): rows of the kernel could not be identified; "
            "build it with shuffle=False"
        )


def _compare_passes(data: Any, batches: list[Any], name: str) -> None:
    """Require the same bytes from a second pass, else the loader shuffles or augments."""
    if not isinstance(data, DataLoader):
        return
    again = 0
    for first, second in zip(batches, data, strict=False):
        again += 1
        if _digest(first) != _digest(second):
            raise ValueError(
                f"two passes over the {name} loader differ (batch {again}): it augments or shuffles; pass a loader "
                "with fixed order and deterministic transforms"
            )
    if again != len(batches):
        raise ValueError(f"two passes over the {name} loader differ in length: {len(batches)} and {again} batches")


def _digest(nested: Any) -> bytes:
    digest = xxhash.xxh3_128()
    if isinstance(nested, Tensor):
        digest.update(_bytes_view(nested).tobytes())
    elif isinstance(nested, Mapping):
        for key in sorted(nested):
            digest.update(key.encode() + _digest(nested[key]))
    elif isinstance(nested, (tuple, list)):
        for value in nested:
            digest.update(_digest(value))
    else:
        digest.update(repr(nested).encode())
    return digest.digest()


def _bytes_view(tensor: Tensor) -> Any:
    dense = tensor.detach().cpu().contiguous()
    flat = dense.reshape(dense.shape[0], -1) if dense.ndim else dense.reshape(1, 1)
    return flat.view(torch.uint8).numpy() if flat.numel() else flat.numpy()


def _move(tensor: Tensor, device: torch.device, dtype: torch.dtype) -> Tensor:
    return tensor.detach().to(device, dtype if tensor.is_floating_point() else None, non_blocking=True)
