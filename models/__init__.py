"""Networks that the studies train, and the one Lightning module that trains them.

Names are imported on first use (PEP 562), so that reading a configuration does not load torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

BUILDERS = {
    "mlp": ("models.mlp", "build_mlp"),
    "cnn": ("models.cnn", "build_cnn"),
    "resnet18": ("models.resnet18", "ResNet18"),
    "cifar_resnet": ("models.cifar_resnet", "CifarResNet"),
    "text_classifier": ("models.text_classifier", "build_text_classifier"),
    "vit": ("models.vit", "build_vit"),
    "two_layer": ("models.two_layer", "build_two_layer"),
    "custom": ("models.custom", "build_custom"),
}
"""The module and function that build each network; a module is imported when its network is first built."""

_PLACES = {
    "ClassifierModule": "models.classifier_module",
    "StackedNetworks": "models.stacked",
    "BatchAttack": "models.adversarial_training",
    "PixelBall": "models.gradient_attack",
    "projected_gradient_attack": "models.gradient_attack",
    "learning_rate_factor": "models.optimizers.schedules",
    "logits_of": "models.logits",
    "loss_named": "models.losses",
    "make_optimizer": "models.optimizers.schedules",
    "predicted_class": "models.logits",
    "sample_teacher": "models.two_layer",
    "seeded": "models.initialization",
}

__all__ = sorted([*_PLACES, "build_model"])


def build_model(name: str, *, input_shape: Sequence[int], n_classes: int, seed: int, **options: Any) -> nn.Module:
    """Build and initialize a network on the CPU, in training mode.

    Parameters
    ----------
    name : str
        One of :data:`BUILDERS`.
    input_shape : sequence of int
        Shape of one sample: (channels, height, width) for images, (length,) for texts, (features,) for
        regression.
    n_classes : int
        Number of classes, or of regression targets.
    seed : int
        Seed of the initial weights; also of the new head on stored weights. The same seed gives the same bytes
        and the caller's random state is left as it was.
    **options
        The fields of the model's configuration, see its builder.

    Raises
    ------
    ValueError
        If ``name`` is unknown, or the network does not fit the data.

    Examples
    --------
    >>> from models import build_model
    >>> model = build_model("mlp", input_shape=(1, 28, 28), n_classes=10, seed=0, widths=[64])
    >>> sum(parameter.numel() for parameter in model.parameters())
    50890
    """
    if name not in BUILDERS:
        raise ValueError(f"unknown model {name!r}; choose one of {', '.join(BUILDERS)}")
    from models.initialization import seeded

    module, builder = BUILDERS[name]
    with seeded(seed):
        model = getattr(import_module(module), builder)(input_shape=tuple(input_shape), n_classes=n_classes, **options)
    return model.train()


def __getattr__(name: str) -> Any:
    """Import a public name from the module that holds it."""
    if name not in _PLACES:
        raise AttributeError(f"module 'models' has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    """List the public names."""
    return __all__
