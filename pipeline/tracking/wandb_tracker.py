"""Weights & Biases: one run per artifact, sent while running or kept in files until ``wandb sync``."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.tracking.base import RemoteTracker, TrackedBuild, needed, nonce, note, numbers, plain


class WandbTracker(RemoteTracker):
    """One W&B run per artifact: group = experiment, job type = stage, id = key and nonce.

    Parameters
    ----------
    build : TrackedBuild
        The artifact under construction. Its nonce makes a requeued job continue its run.
    """

    service = "W&B"

    def __init__(self, build: TrackedBuild) -> None:
        super().__init__()
        self._wandb = needed("wandb", "wandb")
        node, config = build.node, build.config
        settings = config.logging
        # An agent of a W&B sweep has chosen the id of the run that it asked for; upstream runs keep ours.
        in_sweep = "WANDB_SWEEP_ID" in os.environ and node.stage.name == config.stage
        folder = Path(settings.folder)
        folder.mkdir(parents=True, exist_ok=True)
        self._run = self._wandb.init(
            project=settings.project,
            entity=settings.entity,
            group=config.experiment_name,
            job_type=node.stage.name,
            name=f"{node.stage.name} {node.slug}",
            id=None if in_sweep else f"{node.key}-{nonce(build)}",
            tags=[node.key, *settings.tags],
            config=note(build),
            dir=str(folder),
            mode="online" if settings.mode == "online" else "offline",
            resume="allow",
            reinit="finish_previous",
            settings=self._wandb.Settings(silent=True, console="off"),
        )

    def log(self, values: Mapping[str, Any], step: int | None = None) -> None:
        """Record numbers as history at a step, or everything plain as the run's summary."""
        if step is None:
            self._send(self._run.summary.update, plain(values))
        else:
            self._send(self._run.log, numbers(values), step=step)

    def image(self, name: str, png: bytes, step: int | None = None) -> None:
        """Record a PNG picture, at a step or as the run's."""
        from PIL import Image

        self._send(lambda: self._run.log({name: self._wandb.Image(Image.open(io.BytesIO(png)))}, step=step))

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Record a table whose columns may mix numbers and words."""
        cells = [list(row) for row in rows]
        self._send(
            lambda: self._run.log({name: self._wandb.Table(columns=list(columns), data=cells, allow_mixed_types=True)})
        )

    def histogram(self, name: str, values: Any, step: int) -> None:
        """Record a histogram of an array."""
        self._send(lambda: self._run.log({name: self._wandb.Histogram(values)}, step=step))

    def finish(self, exit_code: int) -> None:
        """End the run."""
        self._send(self._run.finish, exit_code=exit_code)
