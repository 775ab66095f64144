"""A device that computes on the CPU and is as strict as an accelerator about where its tensors live.

``register()`` makes the device ``"pretend"``. Its tensors hold main memory, but claim to be on the device: every
operation that mixes them with tensors of the CPU is refused, and so are ``.numpy()`` and indices of the other side.
Only copies cross the border, and CPU scalars (no axes) may enter, as on CUDA. A CUDA tensor can be indexed by a CPU
tensor; this device refuses that too, since it is a hidden copy that waits for the device.

Registration is global and final: use a process of its own.
"""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

aten = torch.ops.aten
COPIES = {aten.copy_.default, aten._to_copy.default}


class PretendTensor(Tensor):
    """A tensor on the pretend device: storage, shape and strides are real, only the device is not."""

    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, held: Tensor) -> "PretendTensor":
        device = torch.device("pretend:0")
        return Tensor._make_subclass(cls, held, False, dispatch_device=True, device_for_backend_keys=device)

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        copied = self.detach().clone()
        return nn.Parameter(copied, self.requires_grad) if isinstance(self, nn.Parameter) else copied

    def __repr__(self) -> str:  # type: ignore[override]
        return f"PretendTensor({_held(self)})"

    def tolist(self) -> Any:
        return self.cpu().tolist()

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.prim.device.default:
            return torch.device("pretend:0")
        tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        strays = [x for x in tensors if not isinstance(x, PretendTensor)]
        if func not in COPIES and any(x.ndim or _takes_indices(func) for x in strays):
            shapes = [f"{tuple(x.shape)} on {x.device}" for x in tensors]
            raise RuntimeError(f"{func}: tensors on different devices: {', '.join(shapes)}")
        owners: dict[int, PretendTensor] = {}  # so that an operation in place returns the very tensor it was given
        held: list[Tensor] = []

        def hold(tensor: PretendTensor) -> Tensor:
            held.append(_held(tensor))
            owners[id(held[-1])] = tensor
            return held[-1]

        args, kwargs = tree_map_only(PretendTensor, hold, (args, kwargs or {}))
        leaves = kwargs.get("device") == torch.device("cpu") or func is aten.copy_.default and id(args[0]) not in owners
        if "device" in kwargs:
            kwargs["device"] = torch.device("cpu")
        found = func(*args, **kwargs)
        for one in held:
            if one.shape != owners[id(one)].shape:  # out= was resized
                owners[id(one)].data = PretendTensor(one)
        if leaves:
            return found
        return tree_map_only(Tensor, lambda x: owners[id(x)] if id(x) in owners else PretendTensor(x), found)


def _takes_indices(func: Any) -> bool:
    return func.overloadpacket in (aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_)


def _held(tensor: PretendTensor) -> Tensor:
    """The same memory as a CPU tensor; read again each time, since assigning to ``.data`` replaces it."""
    plain = torch.empty(0, dtype=tensor.dtype)
    return plain.set_(tensor.untyped_storage(), tensor.storage_offset(), tensor.size(), tensor.stride())


def _empty(size: Any, *, dtype: Any = None, memory_format: Any = None, **_: Any) -> Tensor:
    return PretendTensor(torch.empty(size, dtype=dtype, memory_format=memory_format or torch.contiguous_format))


def _empty_strided(size: Any, stride: Any, *, dtype: Any = None, **_: Any) -> Tensor:
    return PretendTensor(torch.empty_strided(size, stride, dtype=dtype))


def _copy_from(source: Tensor, target: Tensor, non_blocking: bool = False) -> Tensor:
    """Copy for ``torch.tensor``, which calls the kernel of the device itself."""
    held = [_held(x) if isinstance(x, PretendTensor) else x for x in (source, target)]
    held[1].copy_(held[0])
    return target


def on_device(model: nn.Module, device: str = "pretend") -> nn.Module:
    """Copy a model to the device; unlike ``model.to``, with its tied parameters tied."""
    memo: dict[int, Any] = {id(p): nn.Parameter(p.detach().to(device), p.requires_grad) for p in model.parameters()}
    memo |= {id(b): b.to(device) for b in model.buffers()}
    return copy.deepcopy(model, memo)


def register() -> torch.library.Library:
    """Make the device known to torch; keep what is returned for as long as it is used."""
    _setup_privateuseone_for_python_backend("pretend")
    library = torch.library.Library("aten", "IMPL")
    kernels: dict[str, Callable[..., Tensor]] = {
        "empty.memory_format": _empty,
        "empty_strided": _empty_strided,
        "_copy_from": _copy_from,
    }
    for name, kernel in kernels.items():
        library.impl(name, kernel, "PrivateUse1")
    return library
