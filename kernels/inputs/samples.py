"""All samples of one data set, read once and given in batches in a fixed order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
import xxhash
from torch import Tensor

from kernels.inputs.outputs import Inputs, batch_size, class_labels
from kernels.inputs.reading import bytes_view, label_tensor, read_batches

Labels = Tensor | np.ndarray | Sequence[int]

PROBE = 3
"""Samples on which a model is tried out before a kernel is planned."""


@dataclass(frozen=True)
class Place:
    """Which samples a pass holds.

    Attributes
    ----------
    words : str
        Their numbers, for messages and as the seed of the pass's checks.
    begins : bool
        Whether they are the first ones.
    """

    words: str
    begins: bool = False

    @classmethod
    def of(cls, rows: slice, name: str = "") -> Place:
        """Name a run of samples of the data of some name."""
        return cls(f"{name} samples {rows.start} to {rows.stop}".strip(), rows.start == 0)


class Samples:
    """All samples of one data set, in order, with their labels.

    Parameters
    ----------
    data : Tensor, mapping of tensors, or iterable of batches
        See :func:`kernels.inputs.reading.read_batches`; ``labels`` inside a mapping are taken out of the model's
        inputs. Samples that were read before are taken over, with their own name.
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
        known = data if isinstance(data, Samples) else None
        self.name: str = known.name if known else name
        read = [] if known else read_batches(data, name)
        if not known and not sum(batch_size(inputs) for inputs, _ in read):
            raise ValueError(f"{name} data holds no samples")
        self._batches: list[Inputs] = known._batches if known else _join([inputs for inputs, _ in read])
        self._starts = [0]
        for inputs in self._batches:
            self._starts.append(self._starts[-1] + batch_size(inputs))
        self.count = self._starts[-1]
        self._versions: list[list[int]] = known._versions if known else list(map(_versions, self._batches))
        self.labels: Tensor | None = known.labels if known else _joined_labels([found for _, found in read])
        if labels is not None:
            self.labels = label_tensor(labels, self.name).detach().clone()
        if self.labels is not None and (self.labels.ndim == 0 or len(self.labels) != self.count):
            count = len(self.labels) if self.labels.ndim else 1
            raise ValueError(f"{count} labels for {self.count} {self.name} samples")
        if known is None:
            self._check_finite()

    def batches(
        self, start: int, stop: int, size: int, device: torch.device, dtype: torch.dtype
    ) -> Iterator[tuple[slice, Inputs]]:
        """Yield (rows, inputs) of samples ``[start, stop)``, at most ``size`` at a time, on a device.

        Batches of a loader that differ in shape (text padded per batch) are never joined.

        Raises
        ------
        RuntimeError
            If the data, which are not copied, have been written to since they were read.
        """
        for first, inputs, versions in zip(self._starts[:-1], self._batches, self._versions, strict=True):
            low, high = max(start, first), min(stop, first + batch_size(inputs))
            for begin in range(low, high, size):
                if _versions(inputs) != versions:
                    raise RuntimeError(f"the {self.name} data have changed since they were read: pass data.clone()")
                end = min(begin + size, high)
                piece = slice(begin - first, end - first)
                if isinstance(inputs, Mapping):
                    moved: Inputs = {k: _move(v[piece], device, dtype) for k, v in inputs.items()}
                else:
                    moved = _move(inputs[piece], device, dtype)
                yield slice(begin, end), moved

    def runs(self, start: int, stop: int, size: int) -> Iterator[slice]:
        """Yield the rows of :meth:`batches`, without their inputs."""
        for first, last in zip(self._starts[:-1], self._starts[1:], strict=True):
            low, high = max(start, first), min(stop, last)
            yield from (slice(begin, min(begin + size, high)) for begin in range(low, high, size))

    def place(self, rows: slice) -> Place:
        """Name a run of samples."""
        return Place.of(rows, self.name)

    def first(self, count: int, device: torch.device, dtype: torch.dtype) -> Inputs:
        """Return up to ``count`` samples from the beginning."""
        return next(self.batches(0, self.count, count, device, dtype))[1]

    def check_labels(self, classes: int) -> None:
        """Require one class index below ``classes`` of every sample, if there are labels at all."""
        if self.labels is not None:
            class_labels(self.labels, self.count, classes, self.name)

    @cached_property
    def hashes(self) -> list[bytes]:
        """One digest per sample of its inputs."""
        found: list[bytes] = []
        for inputs in self._batches:
            columns = [inputs] if isinstance(inputs, Tensor) else [inputs[key] for key in sorted(inputs)]
            if len(columns) == 1:
                found += map(xxhash.xxh3_128_digest, bytes_view(columns[0]))
                continue
            for first, *others in zip(*map(bytes_view, columns), strict=True):
                digest = xxhash.xxh3_128(first)
                for more in others:
                    digest.update(more)
                found.append(digest.digest())
        return found

    def digest(self) -> str:
        """Digest of all inputs in order, and of the labels."""
        total = xxhash.xxh3_64()
        total.update(b"".join(self.hashes))
        if self.labels is not None:
            total.update(bytes_view(self.labels).tobytes())
        return total.hexdigest()

    def _check_finite(self) -> None:
        for first, inputs in zip(self._starts[:-1], self._batches, strict=True):
            columns = {"": inputs} if isinstance(inputs, Tensor) else inputs
            for key, values in columns.items():
                if values.is_meta:
                    raise ValueError(f"{self.name} data are on the meta device, which keeps no values: load them first")
                bad = first_not_finite(values) if values.is_floating_point() else None
                if bad is not None:
                    raise ValueError(f"{self.name} sample {first + bad} has NaN or infinite {key or 'inputs'}")


class NotFiniteError(ValueError):
    """A network's outputs, gradients or products of these are NaN or infinite, although its inputs are not."""


def first_not_finite(values: Tensor) -> int | None:
    """Return the first row that holds NaN or infinity, if any does."""
    if bool(values.sum().isfinite()):  # cheap; finite numbers may yet have a sum that is not
        return None
    bad = torch.nonzero(~values.isfinite().reshape(len(values), -1).all(1))
    return int(bad[0]) if bad.numel() else None


def require_finite_gradients(values: Tensor, parameter: str, samples: str, start: int) -> None:
    """Name the first sample of a batch from ``start`` on whose gradient is NaN or infinite.

    Raises
    ------
    NotFiniteError
        With the parameter and the sample.
    """
    bad = first_not_finite(values)
    if bad is not None:
        raise NotFiniteError(f"the gradient of {parameter} is NaN or infinite for {samples} sample {start + bad}")


def _versions(inputs: Inputs) -> list[int]:
    """Count the writes to each tensor so far, where torch counts them."""
    tensors = [inputs] if isinstance(inputs, Tensor) else list(inputs.values())
    return [0 if x.is_inference() else x._version for x in tensors]


def _joined_labels(found: list[Tensor | None]) -> Tensor | None:
    """Labels of all batches, if every one has them and they are of one shape."""
    labels = [one for one in found if one is not None]
    if len(labels) != len(found) or len({one.shape[1:] for one in labels}) != 1:
        return None
    return torch.cat([one.reshape(1) if one.ndim == 0 else one for one in labels])


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


def _move(tensor: Tensor, device: torch.device, dtype: torch.dtype) -> Tensor:
    return tensor.detach().to(device, dtype if tensor.is_floating_point() else None, non_blocking=True)
