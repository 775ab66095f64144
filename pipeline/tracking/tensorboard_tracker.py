"""TensorBoard: one folder of event files per artifact, below ``logging.folder``/experiment."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.tracking.base import RemoteTracker, TrackedBuild, needed, nonce, note, numbers, plain


class TensorBoardTracker(RemoteTracker):
    """Event files of one artifact; ``tensorboard --logdir FOLDER`` shows them.

    Parameters
    ----------
    build : TrackedBuild
        The artifact under construction. A requeued job writes into the same folder, and what an earlier one had
        written from its first step on is marked as void, so that every step is shown once.
    """

    service = "TensorBoard"

    def __init__(self, build: TrackedBuild) -> None:
        super().__init__()
        self._writers = needed("torch.utils.tensorboard", "tensorboard")
        node, config = build.node, build.config
        name = f"{node.stage.name} {node.slug}-{node.key}-{nonce(build)}"
        self._folder = Path(config.logging.folder) / config.experiment_name / name
        self._config = json.dumps(note(build), indent=1, default=str)
        self._open: Any = None

    def _writer(self, step: int | None = None) -> Any:
        if self._open is None:
            self._open = self._writers.SummaryWriter(str(self._folder), purge_step=step)
            self._open.add_text("configuration", f"```\n{self._config}\n```")
        return self._open

    def log(self, values: Mapping[str, Any], step: int | None = None) -> None:
        """Record numbers as scalars at a step, or everything plain as the run's summary."""
        if step is None:
            lines = [f"| {name} | {value} |" for name, value in plain(values).items()]
            self._send(lambda: self._writer().add_text("summary", "\n".join(["| measure | value |", "|-|-|", *lines])))
            return
        for name, value in numbers(values).items():
            self._send(lambda n=name, v=value: self._writer(step).add_scalar(n, v, step))

    def image(self, name: str, png: bytes, step: int | None = None) -> None:
        """Record a PNG picture, at a step or as the run's."""
        from PIL import Image

        pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
        self._send(lambda: self._writer(step).add_image(name, pixels, step, dataformats="HWC"))

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Record a table as text."""
        lines = [columns, ["-"] * len(columns), *rows]
        text = "\n".join("| " + " | ".join("" if cell is None else str(cell) for cell in line) + " |" for line in lines)
        self._send(lambda: self._writer().add_text(name, text))

    def histogram(self, name: str, values: Any, step: int) -> None:
        """Record a histogram of an array."""
        self._send(lambda: self._writer(step).add_histogram(name, np.asarray(values), step))

    def finish(self, exit_code: int) -> None:
        """Flush and close the event file."""
        if self._open is not None:
            self._send(self._open.close)
