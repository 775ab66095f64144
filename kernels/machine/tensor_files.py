"""Safetensors files whose readers are those that the umask, or the folder's access list, names.

The library itself writes a private temporary file (mode 0600) and renames it, so that of a store or a kernel that
several people share nobody else could read the numbers.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

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


@contextmanager
def _mode_by_umask(path: Path) -> Iterator[None]:
    """Give the file that the block writes the mode of a file that we open ourselves; earlier files and links go."""
    path.unlink(missing_ok=True)
    with path.open("xb") as stream:
        mode = stat.S_IMODE(os.fstat(stream.fileno()).st_mode)
    yield
    path.chmod(mode)
