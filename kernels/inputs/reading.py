"""Turn what people have (tensors, mappings, loaders, generators, data sets, lists of samples) into batches.

Everything is read once and kept, since an iterator cannot be read again. What could be taken in two ways is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from numbers import Number
from typing import Any

import numpy as np
import torch
import xxhash
from torch import Tensor
from torch.utils.data import (
    DataLoader,
    Dataset,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)

from kernels.inputs.ambiguity import (
    is_number,
    no_batch,
    refuse_flat_elements,
    refuse_masks,
    refuse_parts_of_a_batch,
    refuse_unequal,
    too_many_parts,
)
from kernels.inputs.outputs import Inputs

LABEL_KEYS = ("labels", "label", "label_ids")
_SHUFFLERS = (RandomSampler, SubsetRandomSampler, WeightedRandomSampler)

Batch = tuple[Inputs, Tensor | None]


def read_batches(data: Any, name: str) -> list[Batch]:
    """Batches of a data set with their labels, in order.

    Parameters
    ----------
    data : object
        A tensor, a mapping of tensors, a ``datasets.Dataset``, a map-style ``torch.utils.data.Dataset``, or an iterable
        (loader, generator, list) of batches: tensors, mappings or pairs (inputs, labels). A list of pairs (input,
        number) or of mappings of numbers holds samples, which are stacked.
    name : str
        ``"train"`` or ``"test"``, for messages.

    Raises
    ------
    ValueError, TypeError
        For data that shuffle or augment, are empty, have samples of different length, or could be taken in two ways.

    Examples
    --------
    >>> import torch
    >>> from kernels.inputs.reading import read_batches
    >>> read_batches([(torch.ones(2), 0), (torch.zeros(2), 1)], "train")
    [(tensor([[1., 1.],
            [0., 0.]]), tensor([0, 1]))]
    """
    if isinstance(data, Tensor):
        return [_split(data, name)]
    if type(data).__module__.partition(".")[0] == "datasets" and hasattr(data, "column_names"):
        return _read_table(data, name)
    if isinstance(data, Mapping):
        return [_split(data, name)]
    if isinstance(data, IterableDataset):
        raise TypeError(f"{name} data is an IterableDataset: pass DataLoader(dataset, batch_size=64)")
    if isinstance(data, Dataset) and hasattr(data, "__len__"):
        samples = list(_elements(data))
        _compare_passes(_elements(data), samples, name)
        return [_stacked(samples, name)]
    if not isinstance(data, Iterable) or hasattr(data, "__array__"):
        hint = ", here torch.as_tensor(numpy.asarray(data))" if hasattr(data, "__array__") else ""
        raise TypeError(
            f"{name} data is {type(data).__name__}: pass a tensor, a mapping of tensors or a DataLoader{hint}"
        )
    _refuse_shuffling(data, name)
    if isinstance(data, (tuple, list)):
        refuse_parts_of_a_batch(data, name)
    batches = list(data) if isinstance(data, (tuple, list)) else [_copied(one) for one in data]
    if not batches:
        once = ": the iterator was read before; make a new one, or pass a list" if iter(data) is data else ""
        raise ValueError(f"{name} data holds no samples{once}")
    if not isinstance(data, (tuple, list)) and iter(data) is not data:
        _compare_passes(data, batches, name)
    if not isinstance(data, DataLoader) or data.batch_sampler is None:
        refuse_flat_elements(batches, name)
    if all(map(_is_sample, batches)):
        return [_stacked(batches, name)]
    return [_split(batch, name) for batch in batches]


def _copied(nested: Any) -> Any:
    """Copy the tensors of a batch, since a generator may fill the same ones again."""
    if isinstance(nested, Tensor):
        return nested.detach().clone()
    if isinstance(nested, Mapping):
        return {key: _copied(value) for key, value in nested.items()}
    if isinstance(nested, (tuple, list)):
        return (list if isinstance(nested, list) else tuple)(map(_copied, nested))
    return nested


def label_tensor(labels: Any, name: str) -> Tensor:
    """Turn labels into a tensor, those of another library by way of NumPy."""
    if isinstance(labels, Tensor):
        return labels
    try:
        return torch.as_tensor(np.asarray(labels) if hasattr(labels, "__array__") else labels)
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(
            f"the {name} labels are a {type(labels).__name__}, and not one of class indices: pass them as "
            "torch.tensor([0, 2, 1])"
        ) from None


def _elements(data: Any) -> Iterator[Any]:
    """Iterate over the samples of a map-style data set."""
    return (data[index] for index in range(len(data)))


def _read_table(data: Any, name: str) -> list[Batch]:
    """Columns of a ``datasets.Dataset``; other classes of that library are streams or several data sets."""
    if isinstance(data, Mapping):
        raise TypeError(f"{name} data is {type(data).__name__} of {', '.join(data)}: pass one of these")
    if not hasattr(data, "with_format") or not hasattr(data, "__len__"):
        rows = list(data)
        _compare_passes(data, rows, name)
        return [_stacked(rows, name)] if rows else []
    if len(data) == 0:
        raise ValueError(f"{name} data holds no samples")
    chosen = data.format
    if chosen["type"] == "custom":  # the user's own transform, which might augment
        samples = list(_elements(data))
        _compare_passes(_elements(data), samples, name)
        return [_stacked(samples, name)]
    columns = data.with_format("torch", columns=chosen["columns"])[:]
    whole = {key: _column(values, f"{name} column {key!r}") for key, values in columns.items()}
    return [_split(whole, name)]


def _is_sample(item: Any) -> bool:
    """Whether an element of an iterable can only be a sample: its label, or all that it holds, are plain numbers."""
    if isinstance(item, (tuple, list)):
        return len(item) == 2 and is_number(item[1])
    if isinstance(item, Mapping) and item:
        values = list(item.values())
        return any(map(is_number, values)) or all(
            isinstance(value, (list, tuple)) and all(map(is_number, value)) for value in values
        )
    return False


def _stacked(samples: Sequence[Any], name: str) -> Batch:
    """One batch of samples: each an input, a pair (input, label), or a mapping of inputs."""
    if not samples:
        raise ValueError(f"{name} data holds no samples")
    first = samples[0]
    if isinstance(first, (tuple, list)):
        if len({len(one) for one in samples}) > 1 or len(first) not in (1, 2):
            raise TypeError(too_many_parts(len(first), name))
        columns = [_stack([one[part] for one in samples], name) for part in range(len(first))]
        return _split(columns, name)
    return _split(_stack(samples, name), name)


def _stack(values: Sequence[Any], name: str) -> Any:
    if isinstance(values[0], Mapping):
        odd = next((i for i, one in enumerate(values) if list(one) != list(values[0])), None)
        if odd is not None:
            raise ValueError(
                f"{name} sample {odd} has the inputs {', '.join(map(str, values[odd]))} and sample 0 has "
                f"{', '.join(map(str, values[0]))}: give every sample the same ones"
            )
        return {key: _column([one[key] for one in values], f"{name} input {key!r}") for key in values[0]}
    return _column(list(values), f"{name} data")


def _column(values: Any, what: str) -> Any:
    """One tensor of the values of all samples."""
    if isinstance(values, Tensor):
        return values
    try:
        rows = [torch.as_tensor(value) for value in values]
    except (TypeError, ValueError, RuntimeError):
        raise _not_numbers(values, what) from None
    odd = next((i for i, row in enumerate(rows) if row.shape != rows[0].shape), None)
    if odd is not None:
        raise ValueError(
            f"{what}: sample {odd} has shape {tuple(rows[odd].shape)} and sample 0 has {tuple(rows[0].shape)}; pad all "
            "to one length, with a mask that the model reads, or pass a loader that pads each batch"
        )
    return torch.stack(rows)


def _not_numbers(values: Any, what: str) -> TypeError:
    held = values
    while isinstance(held, (list, tuple)) and held:
        held = held[0]
    if isinstance(held, (Number, Tensor)):
        return TypeError(
            f"{what} holds lists of different lengths: pad them, such as tokenizer(texts, padding=True, "
            "return_tensors='pt')"
        )
    return TypeError(f"{what} holds {type(held).__name__}, not numbers: turn it into a tensor, or leave it out")


def _split(batch: Any, name: str) -> Batch:
    """Take one batch apart into inputs and labels."""
    labels = None
    if isinstance(batch, (tuple, list)):
        if len(batch) not in (1, 2):
            raise TypeError(too_many_parts(len(batch), name))
        labels = batch[1] if len(batch) == 2 else None
        batch = batch[0]
    if isinstance(batch, Mapping):
        inputs = {key: _listed(value, f"{name} input {key!r}") for key, value in batch.items()}
        for key in LABEL_KEYS:
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
        raise TypeError(no_batch(batch, name))
    else:
        _require_samples(batch, f"{name} data")
    if labels is not None and not isinstance(labels, Tensor):
        labels = label_tensor(labels, name)
    if labels is not None:
        refuse_masks(batch, labels, name)
        refuse_unequal(batch, labels, name)
    return batch, labels


def _listed(value: Any, what: str) -> Any:
    """Turn lists of numbers, which tokenizers return, into a tensor."""
    if not isinstance(value, (list, tuple)) or not value:
        return value
    if isinstance(value[0], Tensor):
        raise TypeError(
            f"{what} is a list of tensors, as the loader of a datasets.Dataset gives without a format: use "
            "dataset.with_format('torch'), or stack them with one row per sample"
        )
    try:
        return torch.tensor(value)
    except (TypeError, ValueError, RuntimeError):
        raise _not_numbers(value, what) from None


def _require_samples(value: Any, what: str) -> None:
    """Require a dense tensor whose first axis counts samples."""
    if not isinstance(value, Tensor):
        raise TypeError(f"{what} is {type(value).__name__}, not a tensor: convert it, or leave it out of the batches")
    if value.is_nested:
        raise ValueError(f"{what} is a nested tensor: pad it with to_padded_tensor, and pass a mask to the model")
    if value.ndim == 0 or value.layout != torch.strided:
        form = "a single number" if value.ndim == 0 else f"a tensor of layout {value.layout}"
        raise ValueError(f"{what} is {form}; kernels need a dense tensor with one row per sample")


def _refuse_shuffling(data: Any, name: str) -> None:
    if not isinstance(data, DataLoader):
        return
    for sampler in (data.sampler, data.batch_sampler, getattr(data.batch_sampler, "sampler", None)):
        spread = isinstance(sampler, DistributedSampler) and sampler.shuffle
        if isinstance(sampler, _SHUFFLERS) or spread:
            raise ValueError(
                f"the {name} loader shuffles ({type(sampler).__name__}): rows of the kernel could not be identified; "
                "build it with shuffle=False"
            )


def _compare_passes(data: Iterable[Any], batches: Sequence[Any], name: str) -> None:
    """Require the same bytes from a second pass, else the data shuffle or augment."""
    again = 0
    for again, second in enumerate(data, 1):
        if again <= len(batches) and _digest(batches[again - 1]) != _digest(second):
            raise ValueError(
                f"two passes over the {name} loader differ (batch {again}): it augments or shuffles; pass a loader "
                "with fixed order and deterministic transforms"
            )
    if again != len(batches):
        raise ValueError(f"two passes over the {name} loader differ in length: {len(batches)} and {again} batches")


def _digest(nested: Any) -> bytes:
    digest = xxhash.xxh3_128()
    if isinstance(nested, Tensor):
        digest.update(bytes_view(nested).tobytes())
    elif isinstance(nested, Mapping):
        for key in sorted(nested):
            digest.update(str(key).encode() + _digest(nested[key]))
    elif isinstance(nested, (tuple, list)):
        for value in nested:
            digest.update(_digest(value))
    else:
        digest.update(repr(nested).encode())
    return digest.digest()


def bytes_view(tensor: Tensor) -> Any:
    """Bytes of a tensor, one row per sample."""
    dense = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()
    flat = dense.reshape(dense.shape[0], -1) if dense.ndim else dense.reshape(1, 1)
    return flat.view(torch.uint8).numpy() if flat.numel() else flat.numpy()
