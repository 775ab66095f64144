"""TensorBoard: one folder of event files per artifact, below ``logging.folder``/experiment."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from pipeline.machine.folders import user_path
from pipeline.tracking.base import needed
from pipeline.tracking.journal import Entry
from pipeline.tracking.remote import RemoteTracker


class TensorBoardTracker(RemoteTracker):
    """Event files of one artifact; ``tensorboard --logdir FOLDER`` shows them.

    A requeued job writes into the same folder, and what an earlier one had written from its first step on is marked
    as void, so that every step is shown once.
    """

    service = "TensorBoard"

    def connect(self) -> None:
        """Make the folder; the file is opened with the first entry, whose step it needs."""
        self._writers = needed("torch.utils.tensorboard", "tensorboard")
        run = self.run
        name = f"{run.stage} {run.slug}-{run.key}-{run.nonce}"
        self._folder = user_path(self.settings.folder) / run.experiment / name
        self._folder.mkdir(parents=True, exist_ok=True)
        self._open: Any = None

    def _writer(self, step: int | None = None) -> Any:
        if self._open is None:
            self._open = self._writers.SummaryWriter(str(self._folder), purge_step=step)
            text = json.dumps(self.run.note, indent=1, default=str)
            self._open.add_text("configuration", f"```\n{text}\n```")
        return self._open

    def deliver(self, entry: Entry) -> None:
        """Write scalars, a picture, a histogram, or a table as text."""
        name, step = entry.name, entry.step
        writer = self._writer(step)
        if entry.kind == "log" and step is None:
            lines = [f"| {measure} | {value} |" for measure, value in entry.content.items()]
            writer.add_text("summary", "\n".join(["| measure | value |", "|-|-|", *lines]))
        elif entry.kind == "log":
            for measure, value in entry.content.items():
                writer.add_scalar(measure, value, step)
        elif entry.kind == "image":
            from PIL import Image

            pixels = np.asarray(Image.open(io.BytesIO(entry.data)).convert("RGB"))
            writer.add_image(name, pixels, step, dataformats="HWC")
        elif entry.kind == "histogram":
            writer.add_histogram(name, np.asarray(entry.data), step)
        else:
            columns, rows = entry.content["columns"], entry.content["rows"]
            table: list[Sequence[Any]] = [columns, ["-"] * len(columns), *rows]
            cells = ("| " + " | ".join("" if cell is None else str(cell) for cell in line) + " |" for line in table)
            writer.add_text(name, "\n".join(cells))

    def close(self, exit_code: int) -> None:
        """Flush and close the event file."""
        if self._open is not None:
            self._open.close()
