"""Networks and weights between configuration, memory and files."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from kernels import find_output_layer
from kernels.machine.tensor_files import save_tensors
from models import build_model
from models.configs import CustomConfig
from pipeline.config.run import RunConfig
from pipeline.data.batches import TrainingData
from pipeline.data.outputs import refuse_outputs
from pipeline.engine.artifacts import Artifact
from pipeline.errors import UserError
from pipeline.machine.arithmetic import network_dtype
from pipeline.machine.code_digest import ready_to_import
from pipeline.machine.folders import user_path
from pipeline.training.snapshot_schedule import step_folder

WEIGHTS = "weights.safetensors"
INITIAL = "initial.safetensors"
"""Weights before training, kept where the loss refers to them."""
LOGITS = "logits.safetensors"
HISTORY = "history.csv"


def build_network(config: RunConfig, data: TrainingData) -> nn.Module:
    """Build the configured network for a data set, initialized from ``seeds.init``.

    Raises
    ------
    UserError
        If model and data do not fit, in one sentence.
    """
    refuse_outputs(config.model, data.n_targets)
    options = dataclasses.asdict(config.model)
    name = options.pop("name")
    options.pop("center_output")
    if options.get("weights") == "packaged" and options["path"] is None:
        from pipeline.data.tokenize import packaged_folder

        options["path"] = str(packaged_folder(options["id"], user_path(config.paths.cache)))
    elif options.get("path") is not None:
        options["path"] = str(user_path(options["path"]))
    if isinstance(config.model, CustomConfig):
        if config.model.target is not None:
            ready_to_import(config.model.target)
        if config.model.hub is not None and user_path(config.model.hub).is_dir():
            options["hub"] = str(user_path(config.model.hub))
        options["reads"] = config.model.reads or config.data.kind
        options["one_logit"] = config.training.loss != "cross_entropy"
    try:
        model = build_model(
            name, input_shape=data.input_shape, n_classes=data.n_targets, seed=config.streams.init, **options
        )
    except (ValueError, FileNotFoundError) as error:
        raise UserError(f"Cannot build model={name} for data={config.data.name}: {error}.") from error
    layout = torch.channels_last if config.numerics.memory_format == "channels_last" else torch.contiguous_format
    return model.to(network_dtype(config.numerics.precision)).to(memory_format=layout)  # type: ignore[call-overload]


def starting_network(config: RunConfig, data: TrainingData, pretrained: Artifact | None) -> nn.Module:
    """Build the network as training finds it: random, or with the weights of an earlier task under a new output layer.

    Raises
    ------
    UserError
        If the earlier task's network is another one.
    """
    model = build_network(config, data)
    if pretrained is None:
        return model
    probe = torch.zeros(2, *data.input_shape, dtype=next(model.parameters()).dtype)
    head = output_layer(config) or find_output_layer(model.eval(), probe)
    own = model.state_dict()
    earlier = load_file(pretrained.path(WEIGHTS))
    odd = sorted(earlier.keys() ^ own.keys()) + [
        name for name in earlier.keys() & own.keys() if earlier[name].shape != own[name].shape and not _in(name, head)
    ]
    if odd:
        raise UserError(
            f"The network of the earlier task ({pretrained.key}) is another one: {', '.join(sorted(odd))} differ."
        )
    model.load_state_dict({name: own[name] if _in(name, head) else earlier[name] for name in own})
    return model.train()


def output_layer(config: RunConfig) -> str | None:
    """Name of the module that computes the logits, where the user says so; None where it is to be found."""
    return config.model.head if isinstance(config.model, CustomConfig) else None


def _in(name: str, module: str) -> bool:
    return name.startswith(f"{module}.")


def cpu_weights(model: nn.Module) -> dict[str, Tensor]:
    """Copy all weights and buffers to contiguous CPU tensors that share no memory."""
    return {
        name: value.detach().to("cpu", copy=True).contiguous(memory_format=torch.contiguous_format)
        for name, value in sorted(model.state_dict().items())
    }


def save_weights(model: nn.Module, path: Path) -> str:
    """Write all weights and buffers as safetensors and return the file's sha256."""
    save_tensors(cpu_weights(model), path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def load_weights(model: nn.Module, path: Path) -> nn.Module:
    """Load weights written by :func:`save_weights` into a network of the same configuration, in place.

    Raises
    ------
    UserError
        If the file is damaged or belongs to another network.
    """
    try:
        model.load_state_dict(load_file(path))
    except SafetensorError as error:
        raise UserError(f"{path} is damaged ({error}); rebuild its artifact.") from error
    except RuntimeError as error:
        raise UserError(f"{path} does not fit the configured network: {error}") from error
    return model


def trained_network(config: RunConfig, data: TrainingData, weights: Artifact) -> nn.Module:
    """Build the run's network with the weights of a finished artifact, in evaluation mode."""
    step = config.weights.step
    name = WEIGHTS if step is None or weights.has(WEIGHTS) else f"{step_folder(step)}/{WEIGHTS}"
    return load_weights(build_network(config, data), weights.path(name)).eval()
