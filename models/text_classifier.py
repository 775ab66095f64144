"""Sequence classifiers of transformers: GPT-2, BERT and any other ``Auto*`` family."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from models.configs import TextClassifierConfig
from models.fields import choices_of
from models.pretrained import build_hugging_face

TRAINABLE = choices_of(TextClassifierConfig, "trainable")


def build_text_classifier(
    *,
    input_shape: Sequence[int],
    n_classes: int,
    family: str = "gpt2",
    weights: str = "random",
    id: str | None = None,
    revision: str | None = None,
    path: str | None = None,
    architecture: Mapping[str, Any] | None = None,
    trainable: str = "all",
    reset: bool = False,
) -> nn.Module:
    """Build a transformers sequence classifier; it takes ``input_ids`` and an explicit ``attention_mask``.

    Parameters
    ----------
    input_shape : (length,)
        Longest sequence in tokens.
    n_classes : int
        Number of logits.
    family : str
        transformers model type, such as ``gpt2``, ``bert`` or ``llama``.
    weights, id, revision, path, architecture
        See :func:`models.pretrained.build_hugging_face`. Without a ``pad_token_id`` the end-of-text token pads.
    trainable : {"all", "head"}
        ``head`` freezes everything but the classification head (a linear probe by gradient descent).
    reset : bool
        Redraw every weight in the architecture of the stored model.

    Raises
    ------
    ValueError
        Image-shaped input, a sequence longer than the model's positions, a family without a padding token, or
        a source problem.
    """
    if len(input_shape) != 1:
        raise ValueError(
            f"a text classifier takes token sequences, got samples of shape {tuple(input_shape)}; "
            "choose a text data set or an image model"
        )
    if trainable not in TRAINABLE:
        raise ValueError(f"unknown model.trainable {trainable!r}; choose one of {', '.join(TRAINABLE)}")
    model: Any = build_hugging_face(
        "AutoModelForSequenceClassification",
        family,
        n_classes=n_classes,
        weights=weights,
        id=id,
        revision=revision,
        path=path,
        architecture=architecture or {},
        reset=reset,
    )
    config = model.config.get_text_config()
    if config.pad_token_id is None:
        raise ValueError(
            f"family {family!r} has neither a padding nor an end token; set model.architecture.pad_token_id"
        )
    if not 0 <= config.pad_token_id < config.vocab_size:
        raise ValueError(
            f"padding token {config.pad_token_id} is outside the vocabulary of {config.vocab_size}; "
            "set model.architecture.pad_token_id"
        )
    positions = getattr(config, "max_position_embeddings", None)
    if positions is not None and input_shape[0] > positions:
        raise ValueError(
            f"sequences of {input_shape[0]} tokens exceed the model's {positions} positions; lower data.text.max_length"
        )
    if trainable == "head":
        model.base_model.requires_grad_(False)
    return model
