"""Call any network of the project on a batch, for any kind of input and output."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn

TEXT_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
TENSOR_INPUTS = ("image", "x")

INITIAL_OUTPUTS = "initial"
"""Column of a batch that holds the outputs at initialization, where they are known beforehand."""

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
        If the batch has none of these inputs.

    Examples
    --------
    >>> import torch
    >>> from models import logits_of
    >>> logits_of(torch.nn.Flatten(), {"image": torch.ones(2, 1, 1, 3), "label": torch.tensor([0, 1])})
    tensor([[1., 1., 1.],
            [1., 1., 1.]])
    """
    inputs = model_inputs(batch)
    outputs = model(inputs) if isinstance(inputs, Tensor) else model(**inputs)
    return outputs if isinstance(outputs, Tensor) else outputs.logits


def model_inputs(batch: Mapping[str, Tensor]) -> Tensor | dict[str, Tensor]:
    """Pick from a batch what the network itself takes: one tensor, or keywords for texts.

    Raises
    ------
    KeyError
        If the batch has no image, vector or text, or a text without a mask.
    """
    if "input_ids" in batch:
        if "attention_mask" not in batch:
            raise KeyError("a text batch needs an explicit attention_mask along with input_ids")
        return {name: batch[name] for name in TEXT_INPUTS if name in batch}
    name = next((name for name in TENSOR_INPUTS if name in batch), None)
    if name is None:
        raise KeyError(f"no model input in a batch with keys {sorted(batch)}; expected image, x or input_ids")
    return batch[name]


def predicted_class(logits: Float[Tensor, "n c"]) -> Tensor:
    """Class of the largest logit; with a single logit class 1 where it is positive, else class 0.

    Returns
    -------
    Tensor of int64, shape (n,)

    Examples
    --------
    >>> import torch
    >>> from models import predicted_class
    >>> predicted_class(torch.tensor([[0.2, 1.5, -3.0], [4.0, 1.0, 2.0]]))
    tensor([1, 0])
    >>> predicted_class(torch.tensor([[-0.3], [0.0], [2.0]]))
    tensor([0, 0, 1])
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
