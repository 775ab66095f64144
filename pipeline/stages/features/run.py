"""Stage ``features``: layer outputs streamed to tables."""

from __future__ import annotations

import shutil
from typing import Any

import torch
from torch import Tensor

from kernels.machine.memory import show_bytes
from kernels.machine.tensor_files import TensorStream
from pipeline.config.run import RunConfig
from pipeline.data.datamodule import KernelInputs, open_data
from pipeline.engine.build import Build
from pipeline.errors import UserError
from pipeline.machine.arithmetic import arithmetic
from pipeline.stages.features.foreseen import FEW
from pipeline.stages.features.layers import feature_batches, input_rows, split_features
from pipeline.stages.features.read import FEATURES, NOISY
from pipeline.training.networks import output_layer, trained_network


def features(build: Build) -> dict[str, Any]:
    """Stream the outputs of chosen layers over the chosen splits.

    Writes ``features.safetensors``: ``SPLIT.LAYER`` (n, d) float32 after pooling, ``SPLIT.ids``, ``SPLIT.labels``,
    ``SPLIT.logits``; the same under ``SPLIT_noisy`` for every split after the first where ``features.noise`` > 0.
    """
    config, choice = build.config, build.config.features
    data = open_data(config, build.inputs["data"])
    with arithmetic(config.numerics) as device:
        network = trained_network(config, data, build.inputs["weights"]).to(device)
        points_of = {split: data.kernel_inputs(split, choice.limit) for split in choice.splits}
        if choice.noise > 0:
            points_of |= {f"{name}{NOISY}": _noisy(points_of[name], config) for name in choice.splits[1:]}
        arguments = (choice.layers, choice.pool, output_layer(config))
        shapes: dict[str, tuple[str, tuple[int, ...]]] = {}
        for split, points in points_of.items():
            few = split_features(network, _first_rows(points), *arguments)
            layers = [name for name in few if name != "logits"]
            shapes |= {f"{split}.{name}": _kind(values, len(points.ids)) for name, values in few.items()}
            shapes |= {f"{split}.{name}": _kind(values) for name, values in _names(points).items()}
        stream = TensorStream(build.folder / FEATURES, shapes)
        _refuse_full_disk(stream.size, build)
        with stream:
            for split, points in points_of.items():
                for name, values in _names(points).items():
                    stream.write(f"{split}.{name}", slice(0, len(values)), values)
                for rows, found in feature_batches(network, points, *arguments):
                    for name, values in found.items():
                        stream.write(f"{split}.{name}", rows, values)
    widths = {name: shapes[f"{choice.splits[0]}.{name}"][1][1] for name in layers}
    return {"layers": layers, "widths": widths, "pool": choice.pool, "classes": data.n_classes}


def _names(points: KernelInputs) -> dict[str, Tensor]:
    return {"ids": points.ids, "labels": points.labels}


def _first_rows(points: KernelInputs) -> KernelInputs:
    few = slice(0, FEW)
    return KernelInputs(input_rows(points.inputs, few, torch.device("cpu")), points.ids[few], points.labels[few])


def _kind(values: Tensor, rows: int | None = None) -> tuple[str, tuple[int, ...]]:
    return str(values.dtype).removeprefix("torch."), (len(values) if rows is None else rows, *values.shape[1:])


def _refuse_full_disk(needed: int, build: Build) -> None:
    free = shutil.disk_usage(build.folder).free
    if needed > free:
        raise UserError(
            f"The features take {show_bytes(needed)}, and {build.folder.parent} has {show_bytes(free)} left. Take "
            "fewer rows (features.limit), fewer layers (features.layers) or features.pool=mean, or set paths.store "
            "elsewhere."
        )


def _noisy(points: KernelInputs, config: RunConfig) -> KernelInputs:
    if isinstance(points.inputs, dict):
        raise UserError(f"features.noise={config.features.noise} is added to numbers; texts have none, set it to 0.")
    # the same noise in every run, so that runs are compared on the same rows
    generator = torch.Generator().manual_seed(config.data.data_seed)
    noise = torch.randn(points.inputs.shape, generator=generator, dtype=points.inputs.dtype)
    return KernelInputs(points.inputs + config.features.noise * noise, points.ids, points.labels)
