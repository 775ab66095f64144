"""Schema of the ``model`` group: one dataclass per network, selected by ``name``.

The class variables are facts of a network that other parts read. They are not settings and not part of any address.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from models.fields import choice, setting

ACTIVATIONS = ("relu", "tanh", "sigmoid", "gelu", "silu", "softplus", "identity")
SOURCES = ("random", "hub", "path", "packaged")


@dataclass
class ModelConfig:
    """Fields that every network has."""

    kinds: ClassVar[tuple[str, ...]] = ("image", "text", "vector")
    """Kinds of rows that the network takes, see ``data.kind``."""
    stackable: ClassVar[bool] = False
    """Whether many seeds of it can be trained at once (``numerics.engine=ensemble``)."""
    one_output: ClassVar[bool] = False
    """Whether it has a single output, for regression."""
    offered: ClassVar[tuple[str, ...]] = ()
    """Files of ``conf/model`` that messages suggest; empty: the one that is called like the network."""

    name: str = setting("???", "Which network; set by the choice of the group.")
    center_output: bool = setting(False, "Use f(theta) - f(theta_0), the output minus the output at initialization.")

    @property
    def shown(self) -> str:
        """What folders call it."""
        return self.name

    @property
    def taken(self) -> tuple[str, ...]:
        """Kinds of rows that this network takes: a setting may narrow what its class can."""
        return self.kinds

    @property
    def begins_trained(self) -> bool:
        """Whether it begins with stored weights."""
        return getattr(self, "weights", "random") != "random" and not getattr(self, "reset", False)


@dataclass
class MLPConfig(ModelConfig):
    """Fully connected network."""

    kinds: ClassVar[tuple[str, ...]] = ("image", "vector")
    stackable: ClassVar[bool] = True

    name: str = setting("mlp", "Which network.")
    widths: list[int] = setting([512, 512], "Hidden widths, first layer first; empty for a linear model.", at_least=1)
    activation: str = choice(*ACTIVATIONS, default="relu", help="Activation of the hidden layers.")
    bias: bool = setting(True, "Biases on all layers, or on none.")
    parameterization: str = choice(
        "standard", "ntk", "torchntk", default="standard", help="Scale factors of the layers, see models/dense.py."
    )
    init: str = choice("default", "normal", "glorot", default="default", help="Distribution of the initial weights.")
    outputs: int | None = setting(
        None, "Number of outputs; null: the number of classes. 1 gives a single logit.", at_least=1
    )
    frozen_layers: list[int] = setting(
        [], "Hidden layers, counted from 0 at the input, that keep their initial weights.", at_least=0, distinct=True
    )


@dataclass
class CNNConfig(ModelConfig):
    """The published small CNNs, the poisoned-data CNN, and a smooth one of ours."""

    kinds: ClassVar[tuple[str, ...]] = ("image",)
    stackable: ClassVar[bool] = True
    offered: ClassVar[tuple[str, ...]] = ("cnn_mnist2", "cnn_cifar2", "cnn_poison", "cnn_smooth")

    name: str = setting("cnn", "Which network.")
    variant: str = choice(
        "mnist2",
        "cifar2",
        "poison",
        "smooth",
        default="cifar2",
        help="Which published network, or the smooth one.",
    )
    outputs: int | None = setting(None, "Number of outputs; null: the number of classes.", at_least=1)


@dataclass
class ResNet18Config(ModelConfig):
    """ResNet-18 with a CIFAR stem, at any width."""

    kinds: ClassVar[tuple[str, ...]] = ("image",)
    stackable: ClassVar[bool] = True

    name: str = setting("resnet18", "Which network.")
    width: int = setting(64, "Channels of the first stage; 64 is the published one.", at_least=1)
    max_pool: bool = setting(False, "Add the pooling after the stem that the public CIFAR weights have.")
    norm: str = choice("batch", "frozen", default="batch", help="Batch normalization, or its statistics held fixed.")


@dataclass
class CifarResNetConfig(ModelConfig):
    """Residual networks of He et al. for CIFAR (arXiv 1512.03385)."""

    kinds: ClassVar[tuple[str, ...]] = ("image",)
    stackable: ClassVar[bool] = True

    name: str = setting("cifar_resnet", "Which network.")
    depth: int = setting(20, "Layers with weights, 6k + 2: 20, 32, 44, 56 and 110 are published.", at_least=8)
    width: int = setting(16, "Channels of the first stage; 16 is the published one.", at_least=1)


@dataclass
class TextClassifierConfig(ModelConfig):
    """Any transformers sequence classifier; ``architecture`` sizes a random one."""

    kinds: ClassVar[tuple[str, ...]] = ("text",)
    offered: ClassVar[tuple[str, ...]] = ("gpt2_tiny", "gpt2", "bert", "minilm")

    name: str = setting("text_classifier", "Which network.")
    family: str = setting("gpt2", "Model type of transformers, such as gpt2 or bert.")
    weights: str = choice(*SOURCES, default="random", help="Where the weights come from.")
    id: str | None = setting(
        None, "Repository for weights=hub, or archive for weights=packaged.", files_if=("weights", "hub")
    )
    revision: str | None = setting(None, "Commit for weights=hub.", commit_of=("id", "weights", "hub"))
    path: str | None = setting(
        None, "Folder of a saved model for weights=path.", files_if=("weights", "path", "packaged")
    )
    architecture: dict[str, Any] = setting({}, "Fields of the model's transformers configuration, such as n_layer.")
    trainable: str = choice("all", "head", default="all", help="Which weights are trained.")
    reset: bool = setting(
        False, "Redraw every weight in the stored model's architecture: what pre-training adds is the difference."
    )


@dataclass
class ViTConfig(ModelConfig):
    """Hugging Face ViT image classifier by configuration."""

    kinds: ClassVar[tuple[str, ...]] = ("image",)

    name: str = setting("vit", "Which network.")
    weights: str = choice(*SOURCES, default="random", help="Where the weights come from.")
    id: str | None = setting(
        None, "Repository for weights=hub, or archive for weights=packaged.", files_if=("weights", "hub")
    )
    revision: str | None = setting(None, "Commit for weights=hub.", commit_of=("id", "weights", "hub"))
    path: str | None = setting(
        None, "Folder of a saved model for weights=path.", files_if=("weights", "path", "packaged")
    )
    architecture: dict[str, Any] = setting({}, "Fields of the ViT configuration, such as hidden_size.")


@dataclass
class TwoLayerConfig(ModelConfig):
    """Two-layer student of the linear-width studies."""

    kinds: ClassVar[tuple[str, ...]] = ("image", "vector")
    stackable: ClassVar[bool] = True
    one_output: ClassVar[bool] = True

    name: str = setting("two_layer", "Which network.")
    width: int = setting(1500, "Hidden units.", at_least=1)
    activation: str = choice(*ACTIVATIONS, default="tanh", help="Activation of the hidden layer.")
    parameterization: str = choice(
        "ntk", "standard", "mean_field", default="ntk", help="Scale factors of the layers, see models/two_layer.py."
    )
    trained: str = choice("both", "first", default="both", help="Which layers are trained.")
    normalized: bool = setting(True, "Activations of zero mean and unit variance under a standard Gaussian.")


@dataclass
class CustomConfig(ModelConfig):
    """Your own network by the name of its class, or one of transformers."""

    name: str = setting("custom", "Which network.")
    target: str | None = setting(
        None,
        "Importable class or function that returns a torch.nn.Module, such as mynet.MyNet; its source counts.",
        code=True,
    )
    args: dict[str, Any] = setting({}, "Keywords for it, such as {width: 16}.")
    reads: str | None = choice(
        "image", "text", "vector", default=None, help="Rows that it reads; null: those that the data hold."
    )
    head: str | None = setting(
        None, "Module whose output is the logits, such as net.fc; null: the linear layer that computes them."
    )
    hub: str | None = setting(
        None,
        "In place of target: repository, or folder of a saved model, of a classifier of transformers.",
        files_if=("name", "custom"),
    )
    revision: str | None = setting(None, "Commit of the repository.", commit_of=("hub", "name", "custom"))
    reset: bool = setting(False, "Redraw every weight of the stored model.")

    @property
    def shown(self) -> str:
        """What folders call it: the class, which addresses hold, and no path, which they do not."""
        return self.name if self.target is None else self.target.replace(":", ".").rpartition(".")[2]

    @property
    def taken(self) -> tuple[str, ...]:
        """Kinds of rows that this network takes."""
        return self.kinds if self.reads is None else (self.reads,)

    @property
    def begins_trained(self) -> bool:
        """Whether it begins with stored weights."""
        return self.hub is not None and not self.reset


MODEL_SCHEMAS: dict[str, type[ModelConfig]] = {
    "mlp": MLPConfig,
    "cnn": CNNConfig,
    "resnet18": ResNet18Config,
    "cifar_resnet": CifarResNetConfig,
    "text_classifier": TextClassifierConfig,
    "vit": ViTConfig,
    "two_layer": TwoLayerConfig,
    "custom": CustomConfig,
}
