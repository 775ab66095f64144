"""Networks that the studies train, and the one Lightning module that trains them."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

BUILDERS = {
    "mlp": ("models.mlp", "build_mlp"),
    "cnn": ("models.cnn", "build_cnn"),
    "resnet18": ("models.resnet18", "ResNet18"),
    "text_classifier": ("models.text_classifier", "build_text_classifier"),
    "vit": ("models.vit", "build_vit"),
    "two_layer": ("models.two_layer", "build_two_layer"),
}
"""Where each network is built; modules are imported when first asked for."""


def build_model(name: str, *, input_shape: Sequence[int], n_classes: int, seed: int, **options: Any) -> nn.Module:
    """Build and initialize a network on the CPU, in evaluation-independent (training) mode.

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
    >>> model = build_model("mlp", input_shape=(1, 28, 28), n_classes=10, seed=0, widths=[64])
    """
    if name not in BUILDERS:
        raise ValueError(f"unknown model {name!r}; choose one of {', '.join(BUILDERS)}")
    from models.initialization import seeded

    module, builder = BUILDERS[name]
    with seeded(seed):
        model = getattr(importlib.import_module(module), builder)(
            input_shape=tuple(input_shape), n_classes=n_classes, **options
        )
    return model.train()
