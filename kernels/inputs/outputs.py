r"""What a model returns, and the cotangents that kernels pull back through it.

A kernel is made of gradients :math:`\nabla_\theta (v_r^T f)`. The rows :math:`v_r` are: one unit vector per class
(``class``: trNTK and eNTK), ones (``sum``: pNTK, arXiv:2305.14585), the loss gradient :math:`p - y` (``loss``,
Grad-Cos), or the gradient of :math:`\log p_y / (1 - p_y)` (``log_odds``, TRAK, arXiv:2303.14186).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import lru_cache
from inspect import Parameter, signature
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from kernels.inputs.loan import forward_pass, loan_of

Inputs = Tensor | Mapping[str, Tensor]
Cotangent = str | Callable[[Tensor, Tensor | None], Tensor]
Output = Callable[[Any], Tensor] | None
COTANGENTS = ("sum", "class", "loss", "log_odds")
IGNORED = -100
"""Label that PyTorch's cross-entropy leaves out by default."""


def call_logits(
    model: nn.Module, inputs: Inputs, output: Callable[[Any], Tensor] | None = None
) -> Float[Tensor, "n k"]:
    """Run the model and return its logits.

    It runs on a copy of the inputs, since it may change them in place (normalization, masking).

    Parameters
    ----------
    model : nn.Module
        Called as ``model(inputs)``, or ``model(**inputs)`` for a mapping.
    inputs : Tensor or mapping of tensors
        One batch.
    output : callable, optional
        Turns what the model returns into logits of shape (n, k). Without it, a tensor, an object with ``logits`` or a
        mapping with ``"logits"`` is understood.

    Raises
    ------
    TypeError, ValueError
        When no logits of shape (n, k) can be found.

    Examples
    --------
    >>> import torch
    >>> from kernels.inputs import call_logits
    >>> model = torch.nn.LSTM(2, 3, batch_first=True)  # returns outputs and states
    >>> call_logits(model, torch.ones(4, 5, 2), output=lambda found: found[0][:, -1]).shape
    torch.Size([4, 3])
    """
    with forward_pass(model):
        if isinstance(inputs, Mapping):
            _refuse_unknown_inputs(model, inputs)
            own = {name: value.clone() for name, value in inputs.items()}
            result = model(**{**(_no_cache(model) if output is None else {}), **own})
        else:
            try:
                result = model(inputs.clone())
            except (RuntimeError, IndexError, ValueError) as error:
                if inputs.ndim > 1 or isinstance(error, torch.OutOfMemoryError):
                    raise
                raise ValueError(
                    f"the model fails on inputs with one axis, of which each number is a sample "
                    f"({str(error).splitlines()[0]}): a single sample needs a first axis, as in x[None]"
                ) from error
        if output is not None:
            result = output(result)
        elif isinstance(result, Mapping) and "logits" in result:
            result = result["logits"]
        elif not isinstance(result, Tensor) and hasattr(result, "logits"):
            result = result.logits
    if not isinstance(result, Tensor):
        raise TypeError(
            f"the model returned {type(result).__name__}, not logits; pass output=, a function from what the model "
            "returns to a tensor of shape (samples, outputs)"
        )
    size = batch_size(inputs)
    if result.shape == (size,):
        result = result.unsqueeze(1)
    if result.ndim != 2 or result.shape[0] != size:
        raise ValueError(
            f"the model returned shape {tuple(result.shape)} for {size} samples; kernels need (samples, outputs): pass "
            "output= to select or flatten it"
        )
    if not result.is_floating_point():
        raise TypeError(f"the model returned {result.dtype}; kernels need real, differentiable logits")
    if not result.shape[1]:
        raise ValueError(f"the model returned shape {tuple(result.shape)}: it has no outputs to differentiate")
    if (loan := loan_of(model)) is not None:
        loan.require_own_graph(result)
    return result


def _refuse_unknown_inputs(model: nn.Module, inputs: Mapping[str, Tensor]) -> None:
    """Name an input that the model does not take, such as a further column of a table."""
    if "forward" in vars(model):
        return
    takes = _parameters_of(type(model).forward)
    if any(one.kind is Parameter.VAR_KEYWORD for one in takes.values()):
        return
    unknown = [name for name in inputs if name not in takes]
    if unknown:
        raise TypeError(
            f"the model takes no input {', '.join(map(repr, unknown))}: leave it out of the data; it takes "
            f"{', '.join(list(takes)[1:])}"
        )


@lru_cache(maxsize=64)
def _parameters_of(forward: Callable[..., Any]) -> Mapping[str, Parameter]:
    return signature(forward).parameters


def _no_cache(model: nn.Module) -> dict[str, bool]:
    """Ask Hugging Face's decoders not to keep keys and values for generating text, which do not affect the logits."""
    library = sys.modules.get("transformers.modeling_utils")
    if library is None or not isinstance(model, library.PreTrainedModel) or "forward" in vars(model):
        return {}
    takes = getattr(model.config, "use_cache", False) and "use_cache" in signature(type(model).forward).parameters
    return {"use_cache": False} if takes else {}


def batch_size(inputs: Inputs) -> int:
    """Return the number of samples in a batch of inputs."""
    tensors = [inputs] if isinstance(inputs, Tensor) else list(inputs.values())
    return int(tensors[0].shape[0])


def needs_labels(cotangent: Cotangent) -> bool:
    """Whether a cotangent cannot be computed from logits alone; a misspelled one is refused."""
    if not callable(cotangent) and cotangent not in COTANGENTS:
        raise ValueError(f"unknown cotangent {cotangent!r}: use one of {', '.join(COTANGENTS)} or a callable")
    return cotangent in ("loss", "log_odds")


def cotangent_rows(logits: Float[Tensor, "n k"], labels: Tensor | None, cotangent: Cotangent) -> Float[Tensor, "n r k"]:
    """Vectors pulled back for each sample.

    Parameters
    ----------
    logits : Tensor, shape (n, k)
        Detached outputs.
    labels : Tensor, shape (n,), or None
        Class indices, where the cotangent needs them. With one output, ``loss`` is the logistic loss of labels 0 and 1.
    cotangent : {"sum", "class", "loss", "log_odds"} or callable
        A callable maps (logits, labels) to one scalar per sample, (n,), or r of them, (n, r).

    Returns
    -------
    Tensor, shape (n, r, k)
        r is k for ``class``, 1 for the other names.

    Examples
    --------
    >>> import torch
    >>> from kernels.inputs import cotangent_rows
    >>> logits = torch.tensor([[0.0, 0.0]])
    >>> cotangent_rows(logits, torch.tensor([1]), "loss")  # softmax minus the one-hot label
    tensor([[[ 0.5000, -0.5000]]])
    """
    n, k = logits.shape
    if callable(cotangent):
        return _pull_back(logits, labels, cotangent)
    if cotangent == "sum":
        return logits.new_ones(n, 1, k)
    if cotangent == "class":
        return torch.eye(k, dtype=logits.dtype, device=logits.device).expand(n, k, k)
    if cotangent not in COTANGENTS:
        raise ValueError(f"unknown cotangent {cotangent!r}: use one of {', '.join(COTANGENTS)} or a callable")
    if labels is None:
        raise ValueError(f"cotangent {cotangent!r} needs labels: pass labels=, or a loader that yields them")
    labels = class_labels(labels.to(logits.device), n, k)
    if k == 1:
        sign = 1.0 - 2.0 * labels.to(logits.dtype).reshape(n, 1)
        rows = torch.sigmoid(logits) - labels.to(logits.dtype).reshape(n, 1) if cotangent == "loss" else -sign
        return rows.unsqueeze(1)
    truth = torch.nn.functional.one_hot(labels.long(), k).to(logits.dtype)
    if cotangent == "loss":
        return (torch.softmax(logits, 1) - truth).unsqueeze(1)
    others = torch.softmax(logits.masked_fill(truth.bool(), float("-inf")), 1)
    return (truth - others).unsqueeze(1)


def class_labels(labels: Tensor, samples: int, classes: int, name: str = "") -> Tensor:
    """Return labels that are a class index of every sample.

    Parameters
    ----------
    labels : Tensor
        Shape (samples,); for one output also (samples, 1), as zeros and ones of any type.
    samples, classes : int
        Numbers of samples and of the model's outputs.
    name : str
        ``"train"`` or ``"test"``, for messages.

    Raises
    ------
    ValueError
        With the first label that is none: ignored (-100), out of range, one-hot or not whole.

    Examples
    --------
    >>> import torch
    >>> from kernels.inputs.outputs import class_labels
    >>> class_labels(torch.tensor([0, 2, -100]), samples=3, classes=3, name="train")
    Traceback (most recent call last):
    ...
    ValueError: the label of train sample 2 is -100, which means "ignore": leave the sample out, or give it a class
    """
    sample = f"{name} sample".strip()
    shaped = labels.shape == (samples,) or classes == 1 and labels.shape == (samples, 1)
    ignored = torch.nonzero((labels.reshape(samples, -1) == IGNORED).any(1)) if shaped else torch.empty(0)
    if ignored.numel():
        raise ValueError(
            f'the label of {sample} {int(ignored[0])} is {IGNORED}, which means "ignore": leave the sample out, or '
            "give it a class"
        )
    if classes == 1:
        if not shaped or not bool(((labels == 0) | (labels == 1)).all()):
            raise ValueError(
                f"labels of a model with one output must be {samples} zeros and ones, got shape {tuple(labels.shape)} "
                f"with values from {labels.min().item()} to {labels.max().item()}"
            )
        return labels
    if not shaped or labels.is_floating_point() or labels.is_complex():
        hint = ""
        if labels.shape == (samples, classes) and bool(((labels == 0) | (labels == 1)).all()):
            hint = ": turn one-hot rows into indices with labels.argmax(1)"
        elif labels.shape == (samples, 1):
            hint = ": remove the last axis with labels[:, 0]"
        elif shaped and bool((labels == labels.round()).all()):
            hint = ": pass labels.long()"
        raise ValueError(
            f"labels must be {samples} class indices below {classes}, got shape {tuple(labels.shape)} "
            f"{labels.dtype}{hint}"
        )
    wrong = torch.nonzero((labels < 0) | (labels >= classes))
    if wrong.numel():
        at = int(wrong[0])
        raise ValueError(
            f"the label of {sample} {at} is {int(labels[at])}, and the model has {classes} outputs: labels must be "
            f"class indices from 0 to {classes - 1}"
        )
    return labels


def bind_cotangent(cotangent: Cotangent, labels: Tensor | None) -> Callable[[Tensor], Tensor]:
    """Fix the labels of a cotangent, leaving a function of the logits."""
    return lambda logits: cotangent_rows(logits, labels, cotangent)


def _pull_back(logits: Tensor, labels: Tensor | None, scalar: Callable[[Tensor, Tensor | None], Tensor]) -> Tensor:
    with torch.enable_grad():
        point = logits.detach().requires_grad_()
        values = scalar(point, None if labels is None else labels.clone())
        if not isinstance(values, Tensor) or not values.requires_grad:
            raise TypeError(
                "the cotangent callable returned what does not lead back to the logits: it must compute with torch "
                "from the logits that it is given, without detach(), NumPy or an argmax"
            )
        if values.shape[:1] != logits.shape[:1] or values.ndim > 2:
            raise ValueError(
                f"the cotangent callable returned shape {tuple(values.shape)} for {logits.shape[0]} samples; it must "
                "return one scalar per sample, (n,), or several, (n, r)"
            )
        columns = values.reshape(logits.shape[0], -1)
        rows = torch.stack(
            [torch.autograd.grad(column, point, retain_graph=True)[0] for column in columns.sum(0).unbind()], 1
        )
        for at in {0, len(logits) - 1} if len(logits) > 1 else ():  # of these samples' values alone
            found = torch.autograd.grad(columns[at].sum(), point, retain_graph=True)[0].nan_to_num()
            found[at] = 0
            if found.any():
                raise ValueError(
                    "the cotangent callable mixes samples: its value of one sample depends on the logits of others, as "
                    "a mean over the batch does; it must compute one value per sample from that sample's logits alone"
                )
    return rows
