"""Vision transformer image classifier of transformers (arXiv 2010.11929), sized by configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from models.pretrained import build_hugging_face

SMALL = {
    "patch_size": 4,
    "hidden_size": 192,
    "num_hidden_layers": 6,
    "num_attention_heads": 3,
    "intermediate_size": 768,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
"""A ViT-Tiny-like network for 32-pixel images; the default for random weights."""


def build_vit(
    *,
    input_shape: Sequence[int],
    n_classes: int,
    weights: str = "random",
    id: str | None = None,
    revision: str | None = None,
    path: str | None = None,
    architecture: Mapping[str, Any] | None = None,
) -> nn.Module:
    """Build a ``ViTForImageClassification``; it takes an image batch and returns a ModelOutput.

    Parameters
    ----------
    input_shape : (channels, height, width)
        Square images whose side is a multiple of the patch size.
    n_classes : int
        Number of logits.
    weights, id, revision, path, architecture
        See :func:`models.pretrained.build_hugging_face`. With random weights ``architecture`` updates
        :data:`SMALL`; the image size always follows the data.

    Raises
    ------
    ValueError
        Samples that are not square images of whole patches, or that do not fit the stored weights.
    """
    if len(input_shape) != 3 or input_shape[1] != input_shape[2]:
        raise ValueError(f"a ViT needs square images (channels, side, side), got shape {tuple(input_shape)}")
    fields = dict(architecture or {})
    if weights == "random":
        fields = {**SMALL, "num_channels": input_shape[0], "image_size": input_shape[1], **fields}
        if input_shape[1] % fields["patch_size"]:
            raise ValueError(f"image side {input_shape[1]} is not a multiple of patch size {fields['patch_size']}")
    model: Any = build_hugging_face(
        "AutoModelForImageClassification",
        "vit",
        n_classes=n_classes,
        weights=weights,
        id=id,
        revision=revision,
        path=path,
        architecture=fields,
    )
    expected = (model.config.num_channels, model.config.image_size, model.config.image_size)
    if tuple(input_shape) != expected:
        raise ValueError(f"these ViT weights take images of shape {expected}, the data has {tuple(input_shape)}")
    return model
