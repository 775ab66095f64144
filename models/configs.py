"""Schema of the ``model`` group: one dataclass per network, told apart by ``name``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class ModelConfig:
    """Fields that every network has."""

    name: str = "???"
    center_output: bool = False
    """Use f(theta) - f(theta_0), the output minus the output at initialisation."""


@dataclass
class MLPConfig(ModelConfig):
    """Fully connected network."""

    name: str = "mlp"
    widths: list[int] = field(default_factory=lambda: [512, 512])
    activation: str = "relu"
    bias: bool = True
    parameterization: str = "standard"
    init: str = "default"
    outputs: int | None = None
    """Number of outputs; the number of classes when absent, 1 for a single logit."""
    frozen_layers: list[int] = field(default_factory=list)
    """Hidden layers, counted from 0 at the input, that keep their initial weights."""


@dataclass
class CNNConfig(ModelConfig):
    """The published small CNNs and the poisoned-data CNN."""

    name: str = "cnn"
    variant: str = "cifar2"
    outputs: int | None = None


@dataclass
class ResNet18Config(ModelConfig):
    """ResNet-18 with a CIFAR stem, at any width."""

    name: str = "resnet18"
    width: int = 64
    max_pool: bool = False
    norm: str = "batch"


@dataclass
class TextClassifierConfig(ModelConfig):
    """Any transformers sequence classifier; ``architecture`` sizes a random one."""

    name: str = "text_classifier"
    family: str = "gpt2"
    weights: str = "random"
    """random | hub | path | packaged."""
    id: str | None = None
    revision: str | None = None
    path: str | None = None
    architecture: dict[str, Any] = field(default_factory=dict)
    trainable: str = "all"
    """all | head."""
    reset: bool = False
    """Draw every weight anew in the stored model's architecture: what pre-training adds is the difference."""


@dataclass
class ViTConfig(ModelConfig):
    """Hugging Face ViT image classifier by configuration."""

    name: str = "vit"
    weights: str = "random"
    id: str | None = None
    revision: str | None = None
    path: str | None = None
    architecture: dict[str, Any] = field(default_factory=dict)


@dataclass
class TwoLayerConfig(ModelConfig):
    """Two-layer student of the linear-width studies."""

    name: str = "two_layer"
    width: int = 1500
    activation: str = "tanh"
    parameterization: str = "ntk"
    trained: str = "both"
    normalized: bool = True


MODEL_SCHEMAS: dict[str, type[ModelConfig]] = {
    "mlp": MLPConfig,
    "cnn": CNNConfig,
    "resnet18": ResNet18Config,
    "text_classifier": TextClassifierConfig,
    "vit": ViTConfig,
    "two_layer": TwoLayerConfig,
}
