"""Features for the conjugate and embedding kernels, and streamed layer outputs for probes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from kernels.capture.sources import FeatureSource
from kernels.inputs.loan import Loan
from kernels.inputs.outputs import Inputs, Output, batch_size, call_logits
from kernels.inputs.samples import Samples
from kernels.machine.precision import float32_products

_DROPOUTS = (nn.modules.dropout._DropoutNd,)
POOLS: dict[str, Callable[[Tensor], Tensor]] = {
    "flatten": lambda x: x.flatten(1),
    "mean": lambda x: x.flatten(2).mean(2) if x.ndim > 3 else x.mean(1) if x.ndim == 3 else x,
    "first": lambda x: x[:, 0] if x.ndim == 3 else x.flatten(1),
}


def conjugate_source(
    model: nn.Module, probe: Inputs, output_layer: str | None, append_one: bool, output: Output
) -> FeatureSource:
    """Features h, the input of the output layer.

    Parameters
    ----------
    model : nn.Module
        Any classifier.
    probe : Inputs
        A few samples.
    output_layer : str or None
        Name of the module whose input is h; None for the last linear map before the logits.
    append_one : bool
        Add a constant 1 to h, the feature of the output bias.

    Examples
    --------
    >>> import torch
    >>> from kernels.capture import conjugate_source
    >>> model = torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.ReLU(), torch.nn.Linear(4, 3)).eval()
    >>> source = conjugate_source(model, torch.eye(2), output_layer=None, append_one=True, output=None)
    >>> logits, (hidden,) = source.blocks(torch.eye(2), None, None)
    >>> hidden.names, hidden.values[:, 0, -1]  # four hidden units and the constant one
    (('2',), tensor([1., 1.]))
    """
    name = output_layer if output_layer is not None else find_output_layer(model, probe, output)
    module = _module(model, name)

    def extract(inputs: Inputs) -> tuple[Tensor, dict[str, Tensor]]:
        caught: list[Tensor] = []
        handle = module.register_forward_pre_hook(lambda _, args: caught.append(args[0].detach()))
        try:
            logits = call_logits(model, inputs, output)
        finally:
            handle.remove()
        if len(caught) != 1:
            raise ValueError(f"output layer {name!r} ran {len(caught)} times in one forward pass, not once")
        hidden = _read_out(model, module, inputs, caught[0], logits, name, output)
        if append_one:
            hidden = torch.cat([hidden, torch.ones_like(hidden[:, :1])], 1)
        return logits, {name: hidden}

    return FeatureSource(extract)


def find_output_layer(model: nn.Module, probe: Inputs, output: Output = None) -> str:
    """Name of the last linear module whose output values are the logits.

    Raises
    ------
    ValueError
        When no linear module produces them.

    Examples
    --------
    >>> import torch
    >>> from kernels import find_output_layer
    >>> model = torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.ReLU(), torch.nn.Linear(4, 3)).eval()
    >>> find_output_layer(model, torch.eye(2))
    '2'
    """
    found: list[tuple[str, Tensor]] = []
    handles = []
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D":
            handles.append(
                module.register_forward_hook(lambda _m, _a, out, name=name: found.append((name, out.detach())))
            )
    try:
        with torch.no_grad():
            logits = call_logits(model, probe, output)
    finally:
        for handle in handles:
            handle.remove()
    for name, values in reversed(found):
        rows = values.reshape(-1, values.shape[-1])
        if rows.shape[1] == logits.shape[1] and _contains(rows, logits):
            return name
    raise ValueError(
        "no linear module's output is the logits: name the module whose input is the last hidden layer with "
        "output_layer="
    )


def _contains(rows: Tensor, logits: Tensor) -> bool:
    return all(bool((rows == one).all(1).any()) for one in logits)


def _read_out(
    model: nn.Module,
    module: nn.Module,
    inputs: Inputs,
    hidden: Tensor,
    logits: Tensor,
    name: str,
    output: Output,
) -> Tensor:
    """One hidden vector per sample: of the position from which the logits were read."""
    size = batch_size(inputs)
    if hidden.ndim == 2 and hidden.shape[0] == size:
        return hidden
    flat = hidden.reshape(size, -1, hidden.shape[-1])
    outputs = module(hidden).reshape(size, flat.shape[1], -1)
    match = (outputs == logits[:, None]).all(2)
    if outputs.shape[2] != logits.shape[1] or not bool(match.any(1).all()):
        raise ValueError(
            f"output layer {name!r} runs on {flat.shape[1]} positions and the logits are none of its outputs; "
            f"name a layer "
            "behind the pooling with output_layer="
        )
    return flat[torch.arange(size, device=flat.device), match.int().argmax(1)]


def embedding_source(model: nn.Module, probe: Inputs, layers: Any, output: Output) -> FeatureSource:
    """Features vec(a_l): the outputs of chosen modules, flattened."""
    names = module_names(model, layers)

    def extract(inputs: Inputs) -> tuple[Tensor, dict[str, Tensor]]:
        with watch_outputs(model, names) as caught:
            logits = call_logits(model, inputs, output)
        size = batch_size(inputs)
        rows = {name: [_per_sample(x, size, name).flatten(1) for x in caught[name]] for name in names}
        return logits, {name: torch.cat(parts, 1) for name, parts in rows.items() if parts}

    with torch.no_grad():
        ran = extract(probe)[1]
    silent = [name for name in names if name not in ran]
    if silent and layers != "all" and not callable(layers):
        raise ValueError(f"modules {', '.join(silent)} do not run in the forward pass; leave them out of layers=")
    return FeatureSource(extract)


def _per_sample(values: Tensor, size: int, name: str) -> Tensor:
    """Give an output one row per sample: expand what all samples share, split what was folded into the batch."""
    if values.ndim and values.shape[0] == size:
        return values
    if values.ndim and values.shape[0] == 1:
        return values.expand(size, *values.shape[1:])
    if values.ndim and values.shape[0] % size == 0:
        return values.unflatten(0, (size, -1))
    raise ValueError(
        f"module {name!r} returns shape {tuple(values.shape)} for {size} samples: rows are not samples; leave it out"
    )


def module_names(model: nn.Module, layers: Any) -> list[str]:
    """Resolve a choice of modules: names, a predicate on names, or all leaf modules except dropout.

    Raises
    ------
    ValueError
        For names that are no module of the model, or an empty choice.

    Examples
    --------
    >>> import torch
    >>> from kernels.capture import module_names
    >>> model = torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.Dropout(), torch.nn.Linear(4, 3))
    >>> module_names(model, "all")  # without dropout
    ['0', '2']
    """
    known = dict(model.named_modules())
    if callable(layers):
        names = [name for name in known if name and layers(name)]
    elif isinstance(layers, str) and layers == "all":
        names = [
            name
            for name, module in known.items()
            if name and not any(module.children()) and not isinstance(module, (*_DROPOUTS, nn.ParameterList))
        ]
        names = names or [""]
    else:
        names = [layers] if isinstance(layers, str) else list(layers)
        for name in names:
            _module(model, name)
    if not names:
        raise ValueError("no module chosen: layers= selects none of " + ", ".join(list(known)[1:8]))
    return names


@contextmanager
def watch_outputs(model: nn.Module, names: Sequence[str]) -> Iterator[dict[str, list[Tensor]]]:
    """Collect the tensor outputs of modules, one entry per call, during the block."""
    caught: dict[str, list[Tensor]] = {name: [] for name in names}
    handles = [
        _module(model, name).register_forward_hook(
            lambda _m, _a, out, name=name: caught[name].append(_first_tensor(out, name).detach().clone())
        )
        for name in names
    ]
    try:
        yield caught
    finally:
        for handle in handles:
            handle.remove()


def _first_tensor(result: Any, name: str) -> Tensor:
    if isinstance(result, Tensor):
        return result
    if isinstance(result, (tuple, list)) and result and isinstance(result[0], Tensor):
        return result[0]
    for key in ("last_hidden_state", "logits"):
        if isinstance(getattr(result, key, None), Tensor):
            return getattr(result, key)
    raise ValueError(f"module {name!r} returns {type(result).__name__}, which holds no first tensor; leave it out")


def _module(model: nn.Module, name: str) -> nn.Module:
    known = dict(model.named_modules())
    if name not in known:
        raise ValueError(f"the model has no module {name!r}; it has {', '.join(list(known)[1:9])}, ...")
    return known[name]


@dataclass
class FeatureBatch:
    """Outputs of chosen layers for one batch: ``features[name]`` is (B, ...) after pooling, ``rows`` its samples.

    Examples
    --------
    >>> import torch
    >>> from kernels import layer_features
    >>> batch = next(layer_features(torch.nn.Linear(2, 3), torch.eye(2), labels=torch.tensor([0, 1])))
    >>> batch.rows, batch.logits.shape, batch.labels
    (slice(0, 2, None), torch.Size([2, 3]), tensor([0, 1]))
    """

    rows: slice
    features: dict[str, Tensor]
    logits: Tensor
    labels: Tensor | None


def layer_features(
    model: nn.Module,
    data: Any,
    layers: Any = "all",
    pool: str | Callable[[Tensor], Tensor] | None = None,
    *,
    labels: Tensor | None = None,
    batch_size: int = 256,
    output: Output = None,
    eval_mode: bool = False,
) -> Iterator[FeatureBatch]:
    """Stream the outputs of layers over a data set, for probes and other uses of hidden features.

    Parameters
    ----------
    model : nn.Module
        In evaluation mode.
    data : Tensor, mapping of tensors, or DataLoader
        As for :func:`kernels.kernel_matrix`.
    layers : "all", sequence of str, or callable
        Modules: every leaf except dropout, names, or those whose name satisfies the callable.
    pool : {"flatten", "mean", "first"} or callable, optional
        Applied to each output (B, ...): all values, the mean over positions, or the first position (class token).
        Default: outputs as they are.
    labels : Tensor, optional
        Passed through.
    batch_size : int
        Samples per forward pass.
    output, eval_mode
        As for :func:`kernels.kernel_matrix`.

    Yields
    ------
    FeatureBatch
        On the model's device. A module that runs several times gives its last output.

    Examples
    --------
    >>> import torch
    >>> from kernels import layer_features
    >>> model = torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.ReLU(), torch.nn.Linear(4, 3)).eval()
    >>> batch = next(layer_features(model, torch.eye(2)))
    >>> {name: tuple(values.shape) for name, values in batch.features.items()}
    {'0': (2, 4), '1': (2, 4), '2': (2, 3)}
    """
    if isinstance(pool, str) and pool not in POOLS:
        raise ValueError(f"unknown pool {pool!r}: use one of {', '.join(POOLS)} or a callable")
    shrink = POOLS[pool] if isinstance(pool, str) else pool
    names = module_names(model, layers)
    loan = Loan(model, eval_mode=eval_mode)
    with loan.lent():
        device = loan.device
    samples = Samples(data, labels, "data")
    dtype = next(p.dtype for p in model.parameters() if p.is_floating_point())
    for rows, inputs in samples.batches(0, samples.count, batch_size, device, dtype):
        with loan.lent(), float32_products(), torch.no_grad(), watch_outputs(model, names) as caught:
            logits = call_logits(model, inputs, output)
        size = rows.stop - rows.start
        features = {name: _per_sample(outputs[-1], size, name) for name, outputs in caught.items() if outputs}
        if shrink is not None:
            features = {name: shrink(value) for name, value in features.items()}
        known = None if samples.labels is None else samples.labels[rows]
        yield FeatureBatch(rows, features, logits, known)
