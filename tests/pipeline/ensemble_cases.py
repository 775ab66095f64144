"""Small data and configurations on which both engines train, shared by the tests of the ensemble."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch

from models.configs import CNNConfig, MLPConfig, ResNet18Config, TwoLayerConfig
from pipeline.config.run import RunConfig
from pipeline.config.training import SeedsConfig
from pipeline.training.ensemble import Member, train_block
from pipeline.training.fit import TrainingOutcome, train_classifier
from pipeline.training.networks import build_network
from tests.pipeline.training_cases import Blobs, run_config

ALL = ("init", "order", "augment", "dropout")


class Images(Blobs):
    """Noisy 1x8x8 images of three classes; noise is the augmentation."""

    input_shape = (1, 8, 8)

    def __init__(self, classes: int = 3, spread: float = 1.0, fail_at: int | None = None) -> None:
        super().__init__(fail_at=fail_at)
        self.n_targets = classes
        generator = torch.Generator().manual_seed(5)
        means = torch.randn(classes, 1, 8, 8, generator=generator)
        for columns in self.rows.values():
            columns["label"] = columns["label"] % classes
            noise = torch.randn(len(columns["label"]), 1, 8, 8, generator=generator)
            columns["image"] = means[columns["label"]] + spread * noise


class Points(Blobs):
    """Five standard normal features and a smooth target."""

    input_shape = (5,)
    n_targets = 1

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(7)
        for columns in self.rows.values():
            x = torch.randn(len(columns["id"]), 5, generator=generator, dtype=torch.float64)
            for name in ("image", "label"):
                del columns[name]
            columns.update(x=x, y=torch.tanh(x[:, :1]) + 0.1 * x[:, 1:2] ** 2)

    def size(self, name):
        return len(self.rows[name]["id"])

    def batch(self, name, indices, generator=None):
        return {column: value[indices] for column, value in self.rows[name].items()}


MODELS = {
    "mlp": MLPConfig(widths=[12, 9]),
    "mlp_ntk_tanh": MLPConfig(widths=[12], parameterization="ntk", activation="tanh", init="normal", bias=False),
    "mlp_torchntk": MLPConfig(widths=[12, 12], parameterization="torchntk", init="normal"),
    "mlp_linear": MLPConfig(widths=[], init="glorot"),
    "mlp_centered": MLPConfig(widths=[12], center_output=True),
    "cnn_mnist2": CNNConfig(variant="mnist2"),
    "cnn_cifar2": CNNConfig(variant="cifar2"),
    "resnet18": ResNet18Config(width=4),
    "resnet18_frozen": ResNet18Config(width=4, max_pool=True, norm="frozen"),
}
TWO_LAYER = {
    "two_layer": TwoLayerConfig(width=16),
    "two_layer_first": TwoLayerConfig(width=16, trained="first", parameterization="standard", normalized=False),
    "two_layer_centered": TwoLayerConfig(width=16, parameterization="mean_field", center_output=True),
}


def case(model, *, precision: str = "64-true", **training: object) -> RunConfig:
    config = run_config(**training)
    numerics = dataclasses.replace(config.numerics, precision=precision, engine="ensemble")
    return dataclasses.replace(config, model=model, numerics=numerics)


def at(config: RunConfig, seed: int, varying: tuple[str, ...] = ALL) -> RunConfig:
    fixed = {stream: 0 for stream in ALL if stream not in varying}
    return dataclasses.replace(config, seed=seed, seeds=SeedsConfig(**fixed))


def together(folder: Path, configs: list[RunConfig], data: object) -> list[Member]:
    folder.mkdir(parents=True, exist_ok=True)
    return train_block(configs, data, folder)


def alone(folder: Path, config: RunConfig, data: object) -> tuple[TrainingOutcome, dict[str, torch.Tensor]]:
    folder.mkdir(parents=True, exist_ok=True)
    model = build_network(config, data)
    outcome = train_classifier(model, data, config, folder, scratch=folder / "scratch", progress=False)
    return outcome, model.state_dict()
