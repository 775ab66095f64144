"""One way to ask any network of the project for its outputs on a batch."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn

TEXT_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
TENSOR_INPUTS = ("image", "x")

Batch = dict[str, Tensor]
"""A batch by column: ``id``, ``label`` or ``y``, and what the network reads."""


def logits_of(model: nn.Module, batch: Mapping[str, Tensor]) -> Float[Tensor, "n c"]:
    """Run a network on a batch and unwrap its outputs.

    Parameters
    ----------
    model : nn.Module
        Takes one tensor (images, regression inputs) or keywords (texts) and returns a tensor or a transformers
        ``ModelOutput``.
    batch : mapping
        With ``image`` or ``x``, or with ``input_ids`` and ``attention_mask``; other keys are ignored.

    Returns
    -------
    Tensor, shape (n, c)
        Logits, or regression outputs.

    Raises
    ------
    KeyError
        If the batch holds no input that is known here.
    """
    inputs = model_inputs(batch)
    outputs = model(inputs) if isinstance(inputs, Tensor) else model(**inputs)
    return outputs if isinstance(outputs, Tensor) else outputs.logits


def model_inputs(batch: Mapping[str, Tensor]) -> Tensor | dict[str, Tensor]:
    """Pick from a batch what the network itself takes: one tensor, or keywords for texts.

    Raises
    ------
    KeyError
        If the batch holds no input that is known here, or a text comes without a mask.
    """
    if "input_ids" in batch:
        if "attention_mask" not in batch:
            raise KeyError("a text batch needs an explicit attention_mask beside input_ids")
        return {name: batch[name] for name in TEXT_INPUTS if name in batch}
    name = next((name for name in TENSOR_INPUTS if name in batch), None)
    if name is None:
        raise KeyError(f"no model input in a batch with keys {sorted(batch)}; expected image, x or input_ids")
    return batch[name]


def predicted_class(logits: Float[Tensor, "n c"]) -> Tensor:
    """Decide: the largest logit, or for a single logit class 1 where it is positive (0 counts as class 0).

    Returns
    -------
    Tensor of int64, shape (n,)
    """
    if logits.shape[1] == 1:
        return (logits[:, 0] > 0).to(torch.int64)
    return logits.argmax(dim=1)


def targets_of(batch: Mapping[str, Tensor]) -> Tensor:
    """Labels of a classification batch (``label``), or the targets ``y`` of a batch of vectors."""
    if "label" in batch:
        return batch["label"]
    if "y" in batch:
        return batch["y"]
    raise KeyError(f"no targets in a batch with keys {sorted(batch)}; expected label or y")
