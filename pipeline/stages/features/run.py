"""Stage ``features``: layer outputs streamed to tables."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pipeline.config.run import RunConfig
from pipeline.data.datamodule import KernelInputs, open_data
from pipeline.engine.build import Build
from pipeline.errors import UserError
from pipeline.machine.arithmetic import arithmetic
from pipeline.stages.features.layers import split_features
from pipeline.stages.features.read import FEATURES, NOISY
from pipeline.training.networks import output_layer, trained_network


def features(build: Build) -> dict[str, Any]:
    """Stream the outputs of chosen layers over the chosen splits.

    Writes ``features.safetensors``: ``SPLIT.LAYER`` (n, d) float32 after pooling, ``SPLIT.ids``, ``SPLIT.labels``,
    ``SPLIT.logits``; the same under ``SPLIT_noisy`` for every split after the first where ``features.noise`` > 0.
    """
    config = build.config
    data = open_data(config, build.inputs["data"])
    arrays: dict[str, Tensor] = {}
    with arithmetic(config.numerics) as device:
        network = trained_network(config, data, build.inputs["weights"]).to(device)
        layers: list[str] = []
        points_of = {split: data.kernel_inputs(split, config.features.limit) for split in config.features.splits}
        if config.features.noise > 0:
            points_of |= {f"{name}{NOISY}": _noisy(points_of[name], config) for name in config.features.splits[1:]}
        for split, points in points_of.items():
            found = split_features(network, points, config.features.layers, config.features.pool, output_layer(config))
            layers = [name for name in found if name != "logits"]
            arrays |= {f"{split}.{name}": values for name, values in found.items()}
            arrays |= {f"{split}.ids": points.ids, f"{split}.labels": points.labels}
    build.write_tensors(FEATURES, arrays)
    widths = {name: arrays[f"{config.features.splits[0]}.{name}"].shape[1] for name in layers}
    return {"layers": layers, "widths": widths, "pool": config.features.pool, "classes": data.n_classes}


def _noisy(points: KernelInputs, config: RunConfig) -> KernelInputs:
    if isinstance(points.inputs, dict):
        raise UserError(f"features.noise={config.features.noise} is added to numbers; texts have none, set it to 0.")
    # the same noise in every run, so that runs are compared on the same rows
    generator = torch.Generator().manual_seed(config.data.data_seed)
    noise = torch.randn(points.inputs.shape, generator=generator, dtype=points.inputs.dtype)
    # copies, because no two entries of one safetensors file may share memory
    return KernelInputs(points.inputs + config.features.noise * noise, points.ids.clone(), points.labels.clone())
