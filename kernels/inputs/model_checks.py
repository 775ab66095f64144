"""Refuse models for which per-sample gradients are undefined or would be wrong, saying what to do instead."""

from __future__ import annotations

import torch
from torch import nn

_BATCH_NORMS = (nn.modules.batchnorm._BatchNorm,)
_DROPOUTS = (nn.modules.dropout._DropoutNd,)


def check_model(model: nn.Module) -> torch.device:
    """Return the one device that holds the model.

    Raises
    ------
    ValueError, TypeError
        For compiled, scripted, quantized, sharded or meta models, several devices, or training mode where it matters.

    Examples
    --------
    >>> import torch
    >>> from kernels.inputs import check_model
    >>> check_model(torch.nn.Linear(2, 3))
    device(type='cpu')
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model is {type(model).__name__}, not torch.nn.Module")
    for name, module in model.named_modules():
        if hasattr(module, "_orig_mod"):
            what = f"{name} is" if name else "the model is"
            raise TypeError(f"{what} compiled by torch.compile: pass the original, {name or 'model'}._orig_mod")
        if getattr(module, "_compiled_call_impl", None) is not None:
            raise TypeError(f"{name or 'the model'} was compiled in place by compile(): pass a copy that was not")
    if isinstance(model, torch.jit.ScriptModule):
        raise TypeError("the model is a TorchScript module: pass the eager nn.Module it was made from")
    if isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        raise TypeError(f"the model is wrapped in {type(model).__name__}: pass the inner module, model.module")
    tensors = [*model.named_parameters(), *model.named_buffers()]
    for name, tensor in tensors:
        kind = type(tensor).__name__
        if torch.nn.parameter.is_lazy(tensor):
            raise ValueError(f"{name} has no shape yet (a lazy module): run one batch through the model first")
        if isinstance(tensor, nn.Parameter) and tensor.layout != torch.strided:
            raise TypeError(f"{name} is a sparse parameter ({tensor.layout}): kernels need dense ones, to_dense()")
        if kind in ("DTensor", "FlatParameter", "ShardedTensor"):
            raise TypeError(f"{name} is sharded ({kind}): gather the full parameters on each rank first")
        if tensor.is_quantized or type(model).__module__.startswith("torch.ao.nn.quantized"):
            raise TypeError(f"{name} is quantized: kernels need the floating-point model before conversion")
        if isinstance(tensor, nn.Parameter) and tensor.is_complex():
            raise TypeError(f"{name} is complex: kernels need real parameters; store its real and imaginary parts")
        if tensor.device.type == "meta":
            raise ValueError(f"{name} is on the meta device: load the weights first")
    if any(type(m).__module__.startswith("torch.ao.nn.quantized") for m in model.modules()):
        raise TypeError("the model has quantized layers: kernels need the floating-point model before conversion")
    devices = {tensor.device for _, tensor in tensors}
    if len(devices) > 1:
        names = ", ".join(sorted(map(str, devices)))
        raise ValueError(f"the model is on several devices ({names}): move it to one with model.to(...)")
    if not devices:
        raise ValueError("the model has no parameters")
    _check_modes(model)
    return devices.pop()


def _check_modes(model: nn.Module) -> None:
    """Refuse layers that would couple samples or draw random numbers."""
    wrong = []
    for name, module in model.named_modules():
        if isinstance(module, _BATCH_NORMS) and (module.training or module.running_mean is None):
            missing = "has no running statistics" if module.running_mean is None else "in training mode"
            wrong.append(f"{name or type(module).__name__} ({type(module).__name__}, {missing})")
        elif module.training and _drops(module):
            wrong.append(f"{name or type(module).__name__} ({type(module).__name__}, in training mode)")
    if wrong:
        more = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        raise ValueError(
            f"per-sample kernels are undefined with {', '.join(wrong[:5])}{more}: call model.eval(), or pass "
            "eval_mode=True to switch for the duration and restore; batch normalization needs running statistics"
        )


def _drops(module: nn.Module) -> bool:
    if isinstance(module, _DROPOUTS):
        return module.p > 0
    rate = getattr(module, "dropout", None)
    return isinstance(rate, float) and rate > 0
