"""A result as one safetensors file that gives it back exactly: tensors, and metadata as JSON. No pickle.

The file has the digest of :mod:`kernels.contraction.kernel_file` and appears whole, by an atomic rename.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kernels.contraction.kernel_file import SAVED, create_arrays, header_metadata, is_sound, map_arrays, put_in_place
from kernels.contraction.tile_store import NAMES

PART = "part/"
"""What the names of parts begin with in a file or store, so that none is taken for an array of ours."""
_ABOUT = "about"
_ARRAYS = ("matrix", "row_diagonal", "column_diagonal", "features")
_PLAIN = (type(None), bool, int, float, str)


def write_result(path: str | Path, kind: str, tensors: Mapping[str, Tensor | None], about: Mapping[str, Any]) -> None:
    """Write a result, in the place of an earlier one.

    Parameters
    ----------
    path : str or Path
        The file.
    kind : {"kernel", "features"}
        What it holds.
    tensors : mapping of str to Tensor or None
        float32 or float64; None is left out.
    about : mapping of str to object
        Numbers, strings, lists, tuples, dictionaries and dataclasses of this library.

    Raises
    ------
    ValueError
        If something else is in the way, or a tensor has another type.
    TypeError
        If the metadata hold something that no file can keep.
    """
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{path} is a directory: name a file")
    if path.exists() and path.stat().st_size and not header_metadata(path).keys() & {SAVED, "fingerprint"}:
        raise ValueError(f"{path} exists and is not a file of this library: choose another name, or remove it")
    kept = {name: tensor.detach() for name, tensor in tensors.items() if tensor is not None}
    for name, tensor in kept.items():
        if tensor.dtype not in NAMES:
            raise ValueError(f"{name} is {tensor.dtype}: a file keeps float32 and float64; convert it first")
    header = {SAVED: kind, _ABOUT: json.dumps(_encoded(dict(about)))}
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.saving-{os.getpid()}")
    try:
        shapes = {name: tuple(tensor.shape) for name, tensor in kept.items()}
        arrays = create_arrays(temporary, shapes, {name: tensor.dtype for name, tensor in kept.items()}, header)
        for name, array in arrays.items():
            array.copy_(kept[name])
        del arrays
        put_in_place(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def read_result(path: str | Path, kind: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors, mapped from the file, and metadata of a result that was saved, or written by ``out=``.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no file, it holds something else, or it is damaged.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} is no file: save a result there first")
    found = header_metadata(path)
    held = found.get(SAVED) or _written_by_a_run(found)
    if held != kind:
        named = {"kernel": "a kernel", "features": "features"}
        raise ValueError(f"{path} holds {named.get(held, 'nothing of this library')}, not {named[kind]}")
    if not is_sound(path, found):
        raise ValueError(f"{path} is damaged: its bytes are not those that were saved; make it again")
    tensors = map_arrays(path)
    if SAVED in found:
        return tensors, _decoded(json.loads(found[_ABOUT]))
    if any(name not in _ARRAYS and not name.startswith(PART) for name in tensors):
        raise ValueError(f"{path} was written by an earlier version of this library: make it again")
    return tensors, _about_a_run(path, found)


def _written_by_a_run(found: Mapping[str, str]) -> str:
    if "fingerprint" not in found:
        return ""
    return "features" if "cotangents" in found else "kernel"


def _about_a_run(path: Path, found: Mapping[str, str]) -> dict[str, Any]:
    """Metadata of a file that ``out=`` has written, as far as it holds them."""
    print_of = json.loads(found["fingerprint"])
    certificate = json.loads(found.get("certificate", "{}"))
    if "cotangents" in found:
        about = {"cotangents": int(found["cotangents"]), "about": print_of["features"]}
        return about | {"metadata": {"certificate": certificate}}
    settings = print_of["settings"]
    metadata = {name: settings[name] for name in ("kind", "precision", "normalize")}
    metadata |= {name: json.loads(found[name]) for name in ("plan", "coverage") if name in found}
    metadata |= {"certificate": certificate, "fingerprint": print_of, "file": str(path)}
    return {"metadata": metadata, "one_diagonal": print_of["test"] is None}


def _encoded(value: Any) -> Any:
    """Write a value with its type where JSON would lose it."""
    if type(value) in _PLAIN:
        return value
    if isinstance(value, list):
        return [_encoded(one) for one in value]
    if isinstance(value, tuple):
        return {"tuple": [_encoded(one) for one in value]}
    if isinstance(value, Mapping):
        return {"mapping": [[_encoded(key), _encoded(one)] for key, one in value.items()]}
    if dataclasses.is_dataclass(value) and type(value).__module__.startswith("kernels."):
        fields = {one.name: _encoded(getattr(value, one.name)) for one in dataclasses.fields(value) if one.init}
        return {"class": f"{type(value).__module__}:{type(value).__qualname__}", "fields": fields}
    if isinstance(value, torch.dtype):
        return {"dtype": str(value).removeprefix("torch.")}
    if isinstance(value, (Path, torch.device)):
        return str(value)
    if getattr(value, "shape", None) == () and hasattr(value, "item"):
        return _encoded(value.item())
    raise TypeError(f"the metadata hold a {type(value).__name__}, which a file cannot keep: take it out before saving")


def _decoded(value: Any) -> Any:
    if isinstance(value, list):
        return [_decoded(one) for one in value]
    if not isinstance(value, dict):
        return value
    if "tuple" in value:
        return tuple(_decoded(value["tuple"]))
    if "mapping" in value:
        return {_decoded(key): _decoded(one) for key, one in value["mapping"]}
    if "dtype" in value:
        return getattr(torch, value["dtype"])
    module, _, name = value["class"].partition(":")
    found = getattr(import_module(module), name, None) if module.startswith("kernels.") else None
    if not (isinstance(found, type) and dataclasses.is_dataclass(found)):
        raise ValueError(f"the file names a class {value['class']!r}, which this version does not have")
    return found(**{key: _decoded(one) for key, one in value["fields"].items()})
