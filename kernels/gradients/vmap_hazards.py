"""Find out, before torch.vmap runs a model, what would make it crash the interpreter or be wrong without a word.

Inside ``vmap`` tensors are wrappers without memory of their own. Most operations that need memory raise an exception;
assigning to ``.data``, as ``module.to(...)`` does for every parameter, ends the process with a segmentation fault
(pytorch/functorch#1054). ``torch.autograd`` does not see the transformation around it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.overrides import TorchFunctionMode

from kernels.inputs.loan import after_forward
from kernels.inputs.outputs import Inputs, Output, call_logits

_TENSOR: Any = torch.Tensor
_HAZARDS: dict[Any, str] = {
    _TENSOR.data.__set__: "assigns to .data, as module.to(...) does",
    _TENSOR.set_: "replaces the memory of a tensor",
    _TENSOR.resize_: "resizes a tensor in place",
    _TENSOR.resize_as_: "resizes a tensor in place",
    _TENSOR.requires_grad_: "calls requires_grad_",
    _TENSOR.requires_grad.__set__: "sets requires_grad",
    _TENSOR.grad.__set__: "sets .grad",
    _TENSOR.backward: "calls backward",
    torch.autograd.backward: "calls backward",
    torch.autograd.grad: "calls torch.autograd.grad",
}


def vmap_hazard(model: nn.Module, names: tuple[str, ...], single: Inputs, output: Output) -> str | None:
    """Return what a forward pass does that ``vmap`` does not survive, or None.

    Parameters
    ----------
    model : nn.Module
        Lent, see :class:`kernels.inputs.loan.Loan`.
    names : tuple of str
        Parameters that would be replaced.
    single : Tensor or mapping
        One sample.
    output : callable, optional
        Turns what the model returns into logits.
    """
    if any(isinstance(module, torch.jit.ScriptModule) for module in model.modules()):
        return "runs TorchScript"
    state = dict(model.named_parameters())
    values = {name: state[name].detach() for name in names}
    with _Watch() as seen:
        call_logits(Called(model, values), single, output)
    after_forward(model)
    return seen.hazard


class Called(nn.Module):
    """The model with some of its parameters replaced; tied parameters are replaced together."""

    def __init__(self, model: nn.Module, values: dict[str, Tensor]) -> None:
        super().__init__()
        self.__dict__["wrapped"], self.__dict__["values"] = model, _by_slot(model, values)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Call the wrapped model."""
        return functional_call(self.__dict__["wrapped"], self.__dict__["values"], args, kwargs, tie_weights=False)


def _by_slot(model: nn.Module, values: dict[str, Tensor]) -> dict[str, Tensor]:
    """Name every place that holds a parameter once.

    torch itself ties by name: in a module that has two names it would replace a parameter twice, and then put its own
    replacement back in the place of the original.
    """
    first: dict[int, str] = {}
    found: dict[tuple[int, str], tuple[str, Tensor]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        own = first.setdefault(id(parameter), name)
        owner, _, attribute = name.rpartition(".")
        if own in values:
            found.setdefault((id(model.get_submodule(owner)), attribute), (name, values[own]))
    return dict(found.values())


class _Watch(TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self.hazard: str | None = None

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in _HAZARDS and self.hazard is None:
            self.hazard = _HAZARDS[func]
        return func(*args, **(kwargs or {}))
