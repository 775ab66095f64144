"""A finished kernel as one safetensors file: mapped into memory, and with a digest that tells damage from content.

The digest is in the file's own header, over all bytes with the digest itself as zeros. The file appears whole, by an
atomic rename after its bytes were flushed.
"""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xxhash
from torch import Tensor

from kernels.contraction.tile_store import NAMES, NUMPY, match, reserve

SAVED = "seedscope"
"""Entry of a header that says what ``save()`` has written."""
_DIGEST = "digest"
_NONE = "0" * 32
_CHUNK = 2**24
_LONGEST = 100_000_000
"""Bytes of the longest header that safetensors reads."""


def load_finished(out: Path, fingerprint: dict[str, Any]) -> tuple[dict[str, Tensor], dict[str, str]] | None:
    """Arrays (mapped) and metadata of a complete ``out`` with this fingerprint, or None if it does not exist.

    A file of this library that is damaged counts as absent, with a warning: what follows replaces it. An empty file
    does so too.

    Raises
    ------
    ValueError
        When the file holds another kernel, or is none of this library.
    """
    if not out.exists():
        return None
    if out.is_dir():
        raise ValueError(f"{out} is a directory; out= names a file")
    metadata = header_metadata(out)
    if SAVED in metadata:
        raise ValueError(f"{out} was written by save(), not by a run: read it with load(), or choose another out=")
    if "fingerprint" not in metadata and out.stat().st_size:
        raise ValueError(f"{out} exists and is not a kernel of this library; choose another out=")
    if "fingerprint" not in metadata or not is_sound(out, metadata):
        warnings.warn(f"{out} is damaged, so it is computed again", stacklevel=4)
        return None
    match(json.loads(metadata["fingerprint"]), fingerprint, out)
    return map_arrays(out), metadata


def is_kernel_file(out: Path) -> bool:
    """Whether a file, sound or damaged, can be recognized as one of this library."""
    return "fingerprint" in header_metadata(out)


def stored_certificate(out: Path) -> dict[str, Any]:
    """Read what a finished file says about the checks of its passes; empty for files of earlier releases."""
    return dict(json.loads(header_metadata(out).get("certificate", "{}")))


def header_metadata(out: Path) -> dict[str, str]:
    """Metadata of a safetensors file; empty for any other."""
    try:
        found = _header(out)[1].get("__metadata__", {})
        return dict(found) if all(isinstance(value, str) for value in found.values()) else {}
    except (ValueError, AttributeError, RecursionError):
        return {}


def _header(path: Path) -> tuple[int, dict[str, Any]]:
    with open(path, "rb") as file:
        size = int.from_bytes(file.read(8), "little")
        if size > _LONGEST:
            raise ValueError(f"a header of {size} bytes")
        return size, json.loads(file.read(size))


def is_sound(out: Path, metadata: dict[str, str]) -> bool:
    """Whether a file has its digest; files of earlier releases, which hold none, pass if they are of full length."""
    try:
        size, header = _header(out)
        end = max(entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__")
        json.loads(metadata.get("fingerprint", "{}"))
    except (ValueError, KeyError, TypeError, IndexError, RecursionError):
        return False
    if out.stat().st_size != 8 + size + end:
        return False
    return _DIGEST not in metadata or metadata[_DIGEST] == _digest(out, metadata[_DIGEST])


def _digest(path: Path, stored: str) -> str:
    """Digest of a whole file in whose header ``stored`` counts as zeros."""
    found = xxhash.xxh3_128()
    with open(path, "rb") as file:
        start = file.read(8)
        header = file.read(int.from_bytes(start, "little"))
        found.update(start + header.replace(f'"{_DIGEST}": "{stored}"'.encode(), f'"{_DIGEST}": "{_NONE}"'.encode(), 1))
        while block := file.read(_CHUNK):
            found.update(block)
    return found.hexdigest()


def put_in_place(temporary: Path, out: Path) -> None:
    """Write a finished file's digest into its header, flush it to disk and give it its name."""
    digest = _digest(temporary, _NONE)
    with open(temporary, "r+b") as file:
        header = file.read(8 + int.from_bytes(file.read(8), "little"))
        mark = f'"{_DIGEST}": "'.encode()
        file.seek(8 + header.index(mark + _NONE.encode()) + len(mark))
        file.write(digest.encode())
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, out)


def map_arrays(path: Path) -> dict[str, Tensor]:
    """Tensors of a safetensors file, mapped copy-on-write rather than read."""
    with open(path, "rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
    found = {}
    kinds = {name: NUMPY[dtype] for dtype, name in NAMES.items()}
    for name, entry in header.items():
        if name != "__metadata__":
            start = 8 + size + entry["data_offsets"][0]
            found[name] = torch.from_numpy(np.memmap(path, kinds[entry["dtype"]], "c", start, tuple(entry["shape"])))
    return found


def create_arrays(
    path: Path,
    shapes: dict[str, tuple[int, ...]],
    dtype: torch.dtype | dict[str, torch.dtype],
    metadata: dict[str, str],
) -> dict[str, Tensor]:
    """Create a safetensors file of zeros and map its tensors for writing; :func:`put_in_place` ends it."""
    kinds = dtype if isinstance(dtype, dict) else dict.fromkeys(shapes, dtype)
    header: dict[str, Any] = {"__metadata__": metadata | {_DIGEST: _NONE}}
    offset = 0
    for name, shape in shapes.items():
        size = int(np.prod(shape)) * NUMPY[kinds[name]].itemsize
        header[name] = {"dtype": NAMES[kinds[name]], "shape": list(shape), "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header, sort_keys=True).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        reserve(file, 8 + len(text) + offset)
        file.write(len(text).to_bytes(8, "little") + text)
    return {
        name: torch.from_numpy(
            np.memmap(path, NUMPY[kinds[name]], "r+", 8 + len(text) + header[name]["data_offsets"][0], shape)
        )
        for name, shape in shapes.items()
    }
