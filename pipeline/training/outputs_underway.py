"""Outputs of a network that is being evaluated: kept every few seconds, so that a killed command goes on from there."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from kernels.machine.tensor_files import save_tensors
from pipeline.data.batches import EVALUATION_ROWS
from pipeline.machine.progress import note_progress, say
from pipeline.machine.ranks import is_main_process

SECONDS = 15.0
"""Between two times that outputs are kept and progress is told."""


class OutputsUnderway:
    """What has been evaluated so far, in the scratch folder of an artifact under construction.

    Parameters
    ----------
    scratch : Path
        Survives a kill and is deleted when the artifact is complete.
    """

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self._saved = self._begun = time.monotonic()
        self._first = 0

    def known(self, split: str, size: int) -> dict[str, Tensor]:
        """Read the rows of a split that an earlier attempt has evaluated; nothing where there are none."""
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        self._saved = self._begun = time.monotonic()
        self._first = 0
        try:
            found = load_file(self._path(split))
        except (OSError, SafetensorError):
            return {}
        done = len(found.get("ids", ()))
        if done > size or (done < size and done % EVALUATION_ROWS) or any(len(one) != done for one in found.values()):
            return {}
        if done:
            say(f"  {split}: {done:,} of {size:,} rows were evaluated before")
        self._first = done
        return found

    def note(self, split: str, size: int, columns: Mapping[str, Sequence[Tensor]]) -> None:
        """Keep what there is and tell how far it is, if it is time to."""
        now = time.monotonic()
        if now - self._saved < SECONDS or not is_main_process():
            return
        self._saved = now
        arrays = {name: torch.cat(list(parts)).contiguous() for name, parts in columns.items()}
        path = self._path(split)
        path.parent.mkdir(parents=True, exist_ok=True)
        save_tensors(arrays, path.with_suffix(".writing"))
        os.replace(path.with_suffix(".writing"), path)
        done = len(arrays["ids"])
        left = (now - self._begun) / max(1, done - self._first) * (size - done)
        if done < size:
            say(f"  {split}: {done:,} of {size:,} rows evaluated, about {left:.0f} s left")
        note_progress(self.scratch, done, size, f"{split}: row {done:,}/{size:,}", left)

    def _path(self, split: str) -> Path:
        return self.scratch / "outputs" / f"{split}.safetensors"
