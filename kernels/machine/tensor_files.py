"""Safetensors files whose readers are those that the umask, or the folder's access list, names.

The library itself writes a private temporary file (mode 0600) and renames it, so that of a store or a kernel that
several people share nobody else could read the numbers.
"""

from __future__ import annotations

import json
import math
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import safetensors.numpy

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


def save_tensors(tensors: Mapping[str, Tensor], path: Path, metadata: dict[str, str] | None = None) -> None:
    """Write torch tensors as one safetensors file, in the place of an earlier one.

    Parameters
    ----------
    tensors : mapping of str to Tensor
        Contiguous tensors.
    path : Path
        The file.
    metadata : dict of str to str, optional
        Kept in the file's header.
    """
    import safetensors.torch  # and torch with it, which arrays do not need

    with _mode_by_umask(path):
        safetensors.torch.save_file(dict(tensors), path, metadata)


def save_arrays(arrays: Mapping[str, np.ndarray], path: Path) -> None:
    """Write contiguous numpy arrays as one safetensors file, in the place of an earlier one."""
    with _mode_by_umask(path):
        safetensors.numpy.save_file(dict(arrays), path)


_KINDS = {"int64": ("I64", 8), "float64": ("F64", 8), "float32": ("F32", 4)}
"""What the library calls each type, and bytes a number; in the order in which it writes them."""


class TensorStream:
    """A safetensors file that is written some rows at a time, so that no tensor need fit in memory.

    Its bytes are those of :func:`save_tensors`. Use it in a ``with`` block, which writes every row once; a block that
    an error ends leaves a file with holes.

    Parameters
    ----------
    path : Path
        The file; an earlier one is replaced.
    tensors : mapping of str to (str, tuple of int)
        Type (int64, float64 or float32) and shape of each tensor, rows first.

    Attributes
    ----------
    size : int
        Bytes of the whole file.
    """

    def __init__(self, path: Path, tensors: Mapping[str, tuple[str, tuple[int, ...]]]) -> None:
        order = sorted(tensors, key=lambda name: (list(_KINDS).index(tensors[name][0]), name))
        header: dict[str, dict[str, Any]] = {}
        end = 0
        for name in order:
            kind, size = _KINDS[tensors[name][0]]
            start, end = end, end + size * math.prod(tensors[name][1])
            header[name] = {"dtype": kind, "shape": list(tensors[name][1]), "data_offsets": [start, end]}
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        text += b" " * (-len(text) % 8)
        self._head = len(text).to_bytes(8, "little") + text
        self._starts = {name: len(self._head) + header[name]["data_offsets"][0] for name in order}
        self._tensors, self._path, self.size = dict(tensors), path, len(self._head) + end
        self._missing = {name: shape[0] for name, (_, shape) in tensors.items()}
        self._file: BinaryIO | None = None

    def __enter__(self) -> TensorStream:
        """Open the file with its header; what is not written yet reads as zeros."""
        self._path.unlink(missing_ok=True)
        self._file = self._path.open("xb")
        self._file.write(self._head)
        self._file.truncate(self.size)
        return self

    def __exit__(self, error: object, *_: object) -> None:
        """Close the file; a ValueError if rows were left out."""
        if self._file is not None:
            self._file.close()
        lacking = [name for name, rows in self._missing.items() if rows]
        if lacking and error is None:
            raise ValueError(f"{self._path.name} lacks rows of {', '.join(lacking)}")

    def write(self, name: str, rows: slice, values: Tensor) -> None:
        """Write some rows of a tensor.

        Raises
        ------
        ValueError
            If the values are not of the type and shape of these rows.
        """
        kind, shape = self._tensors[name]
        wanted = (rows.stop - rows.start, *shape[1:])
        if str(values.dtype) != f"torch.{kind}" or tuple(values.shape) != wanted or rows.stop > shape[0]:
            raise ValueError(
                f"rows {rows.start} to {rows.stop} of {name}, {kind} {list(shape)}, cannot be {values.dtype} "
                f"{list(values.shape)}"
            )
        if self._file is None:
            raise ValueError("a tensor stream is written inside its with block")
        data = values.detach().cpu().contiguous().numpy()
        self._file.seek(self._starts[name] + rows.start * (data.nbytes // max(1, len(data))))
        self._file.write(data.data if data.nbytes else b"")
        self._missing[name] -= len(data)


@contextmanager
def _mode_by_umask(path: Path) -> Iterator[None]:
    """Give the file that the block writes the mode of a file that we open ourselves; earlier files and links go."""
    path.unlink(missing_ok=True)
    with path.open("xb") as stream:
        mode = stat.S_IMODE(os.fstat(stream.fileno()).st_mode)
    yield
    path.chmod(mode)
