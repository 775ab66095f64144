"""States and partial results of a long stage, one file each, that survive a kill."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor

from kernels.machine.tensor_files import save_tensors
from pipeline.machine.deletion import remove
from pipeline.machine.sealed_files import is_sound, replace_sealed


class KeptFiles:
    """Keeps tensors by name in a folder of a stage's scratch; what the disk has damaged counts as absent.

    Parameters
    ----------
    folder : Path
        Made when something is kept.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        """Keep tensors under a name, in the place of earlier ones."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{name}.safetensors"
        written = path.with_suffix(".writing")
        save_tensors({key: value.detach().cpu().contiguous() for key, value in tensors.items()}, written)
        replace_sealed(written, path)

    def load(self, name: str) -> dict[str, Tensor] | None:
        """Give what was kept whole under a name, or None."""
        path = self.folder / f"{name}.safetensors"
        return load_file(path) if is_sound(path) else None

    def clear(self) -> None:
        """Forget everything."""
        if self.folder.is_dir():
            remove(self.folder)
