"""Features for the conjugate and embedding kernels, and streamed layer outputs for probes."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from kernels.capture.forward_alone import ForwardAlone
from kernels.capture.output_axes import POOLS, ChannelTrace, OutputAxes
from kernels.capture.sources import FeatureSource
from kernels.inputs.loan import Loan
from kernels.inputs.outputs import Inputs, Output, call_logits
from kernels.inputs.samples import PROBE, Samples
from kernels.inputs.selection import known
from kernels.machine.precision import float32_products

_DROPOUTS = (nn.modules.dropout._DropoutNd,)


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

    def watched(inputs: Inputs) -> tuple[Tensor, Tensor]:
        caught: list[Tensor] = []
        handle = module.register_forward_pre_hook(lambda _, args: caught.append(args[0].detach()))
        try:
            logits = call_logits(model, inputs, output)
        finally:
            handle.remove()
        if len(caught) != 1:
            raise ValueError(f"output layer {name!r} ran {len(caught)} times in one forward pass, not once")
        return logits, caught[0]

    axes = ForwardAlone()(lambda: OutputAxes(lambda inputs: {name: [watched(inputs)[1]]}, probe))

    def extract(inputs: Inputs) -> tuple[Tensor, dict[str, Tensor]]:
        logits, values = watched(inputs)
        hidden = _read_out(module, axes, values, logits, name)
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
    with Loan(model, checked=False).lent():
        for name, module in model.named_modules():
            if isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D":
                module.register_forward_hook(lambda _m, _a, out, name=name: found.append((name, out.detach())))
        logits = ForwardAlone()(lambda: call_logits(model, probe, output)).detach()  # the hooks end with the loan
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


def _read_out(module: nn.Module, axes: OutputAxes, values: Tensor, logits: Tensor, name: str) -> Tensor:
    """One hidden vector per sample: of the position from which the logits were read."""
    size = len(logits)
    hidden = axes.arranged(name, 0, values, size)
    if hidden.ndim == 2:
        return hidden
    flat = hidden.reshape(size, -1, hidden.shape[-1])
    outputs = axes.arranged(name, 0, module(values), size).reshape(size, flat.shape[1], -1)
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

    def watched(inputs: Inputs) -> tuple[Tensor, dict[str, list[Tensor]]]:
        with watch_outputs(model, names) as caught:
            return call_logits(model, inputs, output), caught

    alone = ForwardAlone()
    axes = alone(lambda: OutputAxes(lambda inputs: watched(inputs)[1], probe))
    ran = alone(lambda: watched(probe)[1])
    silent = [name for name in names if not ran[name]]
    if silent and layers != "all" and not callable(layers):
        raise ValueError(f"modules {', '.join(silent)} do not run in the forward pass; leave them out of layers=")

    def extract(inputs: Inputs) -> tuple[Tensor, dict[str, Tensor]]:
        logits, caught = watched(inputs)
        rows = axes.arrange(inputs, caught)
        return logits, {
            name: torch.cat([x.reshape(len(x), -1) for x in parts], 1) for name, parts in rows.items() if parts
        }

    return FeatureSource(extract)


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
    modules = dict(model.named_modules())
    if callable(layers):
        names = [name for name in modules if name and layers(name)]
    elif isinstance(layers, str) and layers == "all":
        names = [
            name
            for name, module in modules.items()
            if name
            and not any(module.children())
            and not isinstance(module, (*_DROPOUTS, nn.ParameterList))
            and "parametrizations" not in name.split(".")  # those compute weights, not features
        ]
        names = names or [""]
    elif not isinstance(layers, Iterable):
        raise ValueError(f"layers={layers!r}: pass 'all', names of modules, or a function of names")
    else:
        names = [layers] if isinstance(layers, str) else list(layers)
        for name in names:
            _module(model, name)
    if not names:
        raise ValueError("no module chosen: layers= selects none of " + ", ".join(list(modules)[1:8]))
    return names


@contextmanager
def watch_outputs(
    model: nn.Module, names: Sequence[str], keep: Callable[[Tensor], Any] = lambda values: values.detach().clone()
) -> Iterator[dict[str, list[Any]]]:
    """Collect the tensor outputs of modules, or what is to be kept of them, one entry per call, during the block."""
    caught: dict[str, list[Any]] = {name: [] for name in names}
    for name in names:
        if isinstance(_module(model, name), torch.jit.ScriptModule):
            raise TypeError(
                f"module {name!r} is TorchScript, whose output cannot be watched: leave it out with layers=, or pass "
                "the eager module that it was made from"
            )
    handles = [
        _module(model, name).register_forward_hook(
            lambda _m, _a, out, name=name: caught[name].append(keep(_first_tensor(out, name)))
        )
        for name in names
    ]
    try:
        yield caught
    finally:
        for handle in handles:
            handle.remove()


def _channels(model: nn.Module, names: Sequence[str], probe: Inputs, output: Output) -> dict[str, int]:
    """Axis of each module's output that holds its channels, read off a few samples: tracing changes torch's routes."""
    trace = ChannelTrace()
    with watch_outputs(model, names, trace.axis) as caught, trace:
        call_logits(model, probe, output)
    return {name: calls[-1] for name, calls in caught.items() if calls}


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
    modules = dict(model.named_modules(remove_duplicate=False))  # a shared module has several names
    if name not in modules:
        raise ValueError(f"the model has no module {name!r}; {known(name, {one: (one,) for one in modules if one})}")
    return modules[name]


@dataclass
class FeatureBatch:
    """Outputs of chosen layers for one batch: ``features[name]`` is (B, ...) after pooling, ``rows`` its samples.

    ``channels[name]`` is the axis of an output, samples first, that holds its channels; the others are positions.

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
    channels: dict[str, int] = field(default_factory=dict)


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
        Applied to each output (B, ...): all values, the mean over positions (time steps, tokens or pixels, padding
        included, wherever the layer keeps its channels), or the first position (class token). Default: outputs as they
        are, samples first; with a mask, ``FeatureBatch.channels`` says which axis is not one of positions.
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
    if pool is not None and not callable(pool) and not (isinstance(pool, str) and pool in POOLS):
        raise ValueError(f"unknown pool {pool!r}: use one of {', '.join(POOLS)} or a callable")
    if not isinstance(batch_size, int) or batch_size < 1:
        raise ValueError(f"batch_size={batch_size} must be a whole number of at least 1")
    names = module_names(model, layers)

    def watched(inputs: Inputs) -> tuple[Tensor, dict[str, list[Tensor]]]:
        with watch_outputs(model, names) as caught:
            logits = call_logits(model, inputs, output)
        return logits, {name: calls[-1:] for name, calls in caught.items()}

    loan = Loan(model, eval_mode=eval_mode)
    samples = Samples(data, labels, "given")
    dtype = next(p.dtype for p in model.parameters() if p.is_floating_point())
    alone = ForwardAlone()
    with loan.lent(), float32_products():
        device = loan.device
        probe = samples.first(PROBE, device, dtype)
        axes = alone(lambda: OutputAxes(lambda inputs: watched(inputs)[1], probe))
        channels = alone(lambda: _channels(model, names, probe, output))
    for rows, inputs in samples.batches(0, samples.count, batch_size, device, dtype):
        with loan.lent(), float32_products():
            logits, outputs = alone(functools.partial(watched, inputs))
            logits = logits.detach()
            features = {name: calls[0] for name, calls in axes.arrange(inputs, outputs).items() if calls}
        size = rows.stop - rows.start
        at = {name: axes.channel(name, 0, outputs[name][0], channels[name], size) for name in features}
        if callable(pool):
            features = {name: pool(values) for name, values in features.items()}
        elif pool is not None:
            features = {name: POOLS[pool](values, at[name]) for name, values in features.items()}
        yield FeatureBatch(rows, features, logits, None if samples.labels is None else samples.labels[rows], at)
        del logits, outputs, features  # before the next pass takes as much again
