"""Which axis of a layer's output holds the samples, and which one the channels.

Neither can be read from a shape: recurrent layers and transformers put time first by default, views of a sample are
folded into the batch, convolutions have channels before positions. The axis of the samples is the one whose length
follows their number, found by running a few samples together and one of them alone; the axis of the channels is
followed from the operations that made it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from kernels.gradients.fallback import sample
from kernels.gradients.twice import doubled
from kernels.inputs.outputs import Inputs, batch_size

Outputs = dict[str, list[Tensor]]
"""Outputs of modules by name, one entry per call."""
_TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-3}


@dataclass(frozen=True)
class Place:
    """Where an output keeps its samples.

    Attributes
    ----------
    axis : int or None
        The axis; None for an output that all samples share.
    order : {"major", "minor", "either"}
        Whether an axis of several rows per sample runs sample by sample, or view by view; "either" where the samples
        that were tried could not tell.
    """

    axis: int | None
    order: str


POOLS: dict[str, Callable[[Tensor, int], Tensor]] = {
    "flatten": lambda x, channel: x.reshape(len(x), -1),
    "mean": lambda x, channel: _positions(x, channel).mean(2),
    "first": lambda x, channel: _positions(x, channel)[:, :, 0],
}
"""Pooling of an output (B, ...) over its positions: all axes but the first and that of the channels."""


def _positions(values: Tensor, channel: int) -> Tensor:
    """Shape (B, channels, positions); (B, values, 1) for an output without positions."""
    return values.movedim(channel, 1).flatten(2) if values.ndim > 2 else values.reshape(len(values), -1, 1)


class OutputAxes:
    """Arrange outputs of modules by sample.

    Parameters
    ----------
    run : callable
        Maps a batch of inputs to the modules' outputs.
    probe : Tensor or mapping of tensors
        A few samples.

    Raises
    ------
    ValueError
        For an output without an axis of samples, or that differs when a sample runs alone.

    Examples
    --------
    >>> import torch
    >>> from kernels.capture.output_axes import OutputAxes
    >>> time_first = lambda x: {"rnn": [x.transpose(0, 1)]}
    >>> x = torch.randn(3, 3, 2)  # as many samples as steps
    >>> axes = OutputAxes(time_first, x)
    >>> torch.equal(axes.arranged("rnn", 0, x.transpose(0, 1), 3), x)
    True
    """

    def __init__(self, run: Callable[[Inputs], Outputs], probe: Inputs) -> None:
        self._run = run
        self._places = self._find(probe)

    def arrange(self, inputs: Inputs, outputs: Outputs) -> Outputs:
        """Give every output of a batch one row per sample."""
        size = batch_size(inputs)
        for name, calls in outputs.items():
            if len(calls) != len(self._places[name]):
                raise ValueError(
                    f"module {name!r} runs {len(calls)} times for some samples and {len(self._places[name])} times for "
                    "others; leave it out"
                )
        undecided = size > 1 and any(
            place.order == "either" and calls[i].shape[place.axis or 0] > size
            for name, calls in outputs.items()
            for i, place in enumerate(self._places[name])
        )
        if undecided:  # the first samples agreed in all views: these may not
            self._places = self._find(inputs)
        return {
            name: [self.arranged(name, i, one, size) for i, one in enumerate(calls)] for name, calls in outputs.items()
        }

    def arranged(self, name: str, call: int, values: Tensor, size: int) -> Tensor:
        """Move the samples of one output to the front; several rows of a sample get an axis behind it."""
        place = self._places[name][call]
        if place.axis is None:
            return values.expand(size, *values.shape[1 if _single(values) else 0 :])
        if values.ndim <= place.axis or values.shape[place.axis] % size:
            raise ValueError(
                f"module {name!r} returns shape {tuple(values.shape)} for {size} samples: rows are not samples; leave "
                "it out"
            )
        values = values.movedim(place.axis, 0)
        if len(values) == size:
            return values
        return (
            values.unflatten(0, (-1, size)).transpose(0, 1)
            if place.order == "minor"
            else values.unflatten(0, (size, -1))
        )

    def channel(self, name: str, call: int, values: Tensor, axis: int, size: int) -> int:
        """Axis that holds the channels once an output is arranged, from the one that holds them in ``values``."""
        place = self._places[name][call]
        if place.axis is None:
            return axis if _single(values) else axis + 1
        moved = axis + 1 if axis < place.axis else axis
        return moved + (values.shape[place.axis] > size)

    def _find(self, probe: Inputs) -> dict[str, list[Place]]:
        if batch_size(probe) == 1:
            probe = doubled(probe)
        size = batch_size(probe)
        index = size // 2
        together, alone = self._run(probe), self._run(sample(probe, slice(index, index + 1)))
        found: dict[str, list[Place]] = {}
        for name, calls in together.items():
            if len(calls) != len(alone[name]):
                raise ValueError(
                    f"module {name!r} runs {len(calls)} times for {size} samples and {len(alone[name])} times for one: "
                    "its outputs cannot be told apart by sample; leave it out"
                )
            found[name] = [_place(all_, one, size, index, name) for all_, one in zip(calls, alone[name], strict=True)]
        return found


def _single(values: Tensor) -> bool:
    return values.shape[:1] == (1,)


def _place(together: Tensor, alone: Tensor, size: int, index: int, name: str) -> Place:
    """Find the samples in an output of ``size`` samples, of which number ``index`` also ran alone."""
    longer = [axis for axis, pair in enumerate(zip(together.shape, alone.shape, strict=False)) if pair[0] != pair[1]]
    if together.ndim != alone.ndim or len(longer) > 1:
        raise _no_axis(together, alone, size, name)
    if not longer:
        if _close(together, alone):
            return Place(None, "major")
        raise _coupled(name)
    axis = longer[0]
    rows = alone.shape[axis]
    if together.shape[axis] != size * rows:
        raise _no_axis(together, alone, size, name)
    views = together.unflatten(axis, (size, rows)).select(axis, index), together.unflatten(axis, (rows, size))
    orders = [
        order
        for order, mine in (("major", views[0]), ("minor", views[1].select(axis + 1, index)))
        if _close(mine, alone)
    ]
    if not orders:
        raise _coupled(name)
    return Place(axis, "either" if len(orders) == 2 and rows > 1 else orders[0])


def _close(left: Tensor, right: Tensor) -> bool:
    if not right.is_floating_point():
        return torch.equal(left, right)
    scale = float(right.abs().max()) if right.numel() else 0.0
    tolerance = _TOLERANCE.get(right.dtype, 2e-2) * max(scale, 1e-30)
    return torch.allclose(left, right, rtol=0, atol=tolerance, equal_nan=True)


def _no_axis(together: Tensor, alone: Tensor, size: int, name: str) -> ValueError:
    return ValueError(
        f"module {name!r} returns shape {tuple(together.shape)} for {size} samples and {tuple(alone.shape)} for one: "
        "rows are not samples; leave it out"
    )


def _coupled(name: str) -> ValueError:
    return ValueError(
        f"the output of module {name!r} for a sample depends on the other samples of its batch; leave it out, or check "
        "batch normalization, dropout and padding masks"
    )


class ChannelTrace(TorchFunctionMode):
    """Follow the axis of the channels through a forward pass."""

    _FIRST = ("conv", "_conv", "max_pool", "avg_pool", "adaptive_", "batch_norm", "instance_norm", "group_norm")
    _LAST = ("linear", "layer_norm", "rms_norm", "embedding", "lstm", "gru", "rnn_tanh", "rnn_relu")
    _MOVING = ("transpose", "swapaxes", "swapdims", "permute", "movedim", "moveaxis", "adjoint", "T", "mT")
    _DROPPING = ("squeeze", "unsqueeze", "mean", "sum", "amax", "amin", "max", "min", "select", "getitem")
    _RESHAPING = ("view", "reshape", "flatten", "unflatten")
    _MIXING = ("matmul", "bmm", "mm", "einsum", "scaled_dot_product_attention", "gather", "as_strided", "stack")

    def __init__(self) -> None:
        super().__init__()
        self._axes: Any = WeakTensorKeyDictionary()

    def axis(self, values: Tensor) -> int:
        """Axis of the channels: as followed, else the last one, but the second of images."""
        return self._axes.get(values, 1 if values.ndim > 3 else values.ndim - 1)

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run one torch operation and mark its result."""
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        made = result[0] if isinstance(result, (tuple, list)) and result else result
        if not isinstance(made, Tensor) or made.ndim < 2:
            return result
        name = getattr(func, "__name__", "")
        name = getattr(func.__self__, "__name__", "") if name == "__get__" else name
        axis = self._after(name.strip("_"), func, args, kwargs, made)
        if axis is not None:
            for one in result if isinstance(result, (tuple, list)) else [result]:
                if isinstance(one, Tensor) and one.ndim == made.ndim:
                    self._axes[one] = axis
        return result

    def _after(self, name: str, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], made: Tensor) -> int | None:
        if name.startswith(self._FIRST) and made.ndim > 2:
            return 1
        if name.startswith(self._LAST):
            return made.ndim - 1
        read = next((x for x in _tensors(args) if x in self._axes), None)
        if read is None or name in self._MIXING:
            return None
        axis = int(self._axes[read])
        if name == "unfold" and made.ndim == 3 == read.ndim - 1:
            return 1  # patches of an image
        if name in self._MOVING or name in self._DROPPING and made.ndim != read.ndim:
            return _follow(func, read, axis, args[1:], kwargs)
        if name in self._RESHAPING:
            merged = [read.shape[axis : axis + count].numel() for count in range(1, read.ndim - axis + 1)]
            if made.shape[:axis] == read.shape[:axis] and axis < made.ndim and made.shape[axis] in merged:
                return axis  # as it was, or with the axes behind it
            return made.ndim - 1 if axis == read.ndim - 1 and made.shape[-1:] == read.shape[-1:] else None
        return axis if made.ndim == read.ndim else None


def _follow(func: Any, read: Tensor, axis: int, others: tuple[Any, ...], kwargs: dict[str, Any]) -> int | None:
    """Where an axis is after an operation, by running it on a tensor in which each axis has a length of its own."""
    sizes = [1 if size == 1 else 10**4 + i for i, size in enumerate(read.shape)]
    sizes[axis] = 10**5
    try:
        with torch._C.DisableTorchFunction():
            made = func(torch.empty(sizes, device="meta"), *others, **kwargs)
    except (RuntimeError, IndexError, TypeError, NotImplementedError):
        return None
    made = made if isinstance(made, Tensor) else made[0]
    return made.shape.index(10**5) if 10**5 in made.shape else None


def _tensors(args: tuple[Any, ...]) -> list[Tensor]:
    flat = [x for arg in args for x in (arg if isinstance(arg, (tuple, list)) else [arg])]
    return [x for x in flat if isinstance(x, Tensor)]
