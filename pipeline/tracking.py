"""Trackers outside the store. Files in the store are the only thing that the pipeline itself reads."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.artifacts import SCRATCH
from pipeline.errors import UserError
from pipeline.progress import say

if TYPE_CHECKING:
    from pipeline.build import Build


class Tracker:
    """Tracks nothing: the CSV and JSON files of the artefact are enough.

    Attributes
    ----------
    shows_images : bool
        Whether a picture is worth drawing for this tracker alone.
    """

    shows_images = False

    def log(self, values: Mapping[str, Any], step: int | None = None) -> None:
        """Record scalars, at a step or as the run's summary."""

    def image(self, name: str, png: bytes, step: int | None = None) -> None:
        """Record a picture, at a step or as the run's."""

    def histogram(self, name: str, values: Any, step: int) -> None:
        """Record the distribution of an array at a step."""


class WandbTracker(Tracker):
    """One W&B run per artefact: group = experiment, job type = stage, id = key and nonce.

    Parameters
    ----------
    build : Build
        The artefact under construction. The nonce lives in its scratch folder: the same over a requeue,
        new when the artefact is made again.
    """

    shows_images = True

    def __init__(self, build: Build) -> None:
        try:
            import wandb
        except ImportError as error:
            raise UserError(
                "logging.tracker=wandb needs the wandb package: install the extra with `pip install '.[wandb]'`, "
                "or use logging=csv."
            ) from error
        self._wandb = wandb
        self._lost = False
        node, config = build.node, build.config
        settings = config.logging
        upstream = [other.key for other in node.upstream()]
        # An agent of a W&B sweep has chosen the id of the run that it asked for; upstream runs keep ours.
        in_sweep = "WANDB_SWEEP_ID" in os.environ and node.stage.name == config.stage
        folder = Path(settings.folder)
        folder.mkdir(parents=True, exist_ok=True)
        self._run = wandb.init(
            project=settings.project,
            entity=settings.entity,
            group=config.experiment_name,
            job_type=node.stage.name,
            name=f"{node.stage.name} {node.slug}",
            id=None if in_sweep else f"{node.key}-{_nonce(build.folder)}",
            tags=[node.key, *settings.tags],
            config={
                **node.sections,
                "artifact_key": node.key,
                "upstream_keys": upstream,
                "command": node.command,
            },
            dir=str(folder),
            mode="online" if settings.mode == "online" else "offline",
            resume="allow",
            reinit="finish_previous",
            settings=wandb.Settings(silent=True, console="off"),
        )

    def log(self, values: Mapping[str, Any], step: int | None = None) -> None:
        """Record numbers as history at a step, or everything plain as the run's summary."""
        if step is None:
            plain = {key: value for key, value in values.items() if isinstance(value, (int, float, str, bool))}
            self._send(lambda: self._run.summary.update(plain))
        else:
            numbers = {key: value for key, value in values.items() if isinstance(value, (int, float))}
            self._send(lambda: self._run.log(numbers, step=step))

    def image(self, name: str, png: bytes, step: int | None = None) -> None:
        """Record a PNG picture, at a step or as the run's."""
        import io

        from PIL import Image

        self._send(lambda: self._run.log({name: self._wandb.Image(Image.open(io.BytesIO(png)))}, step=step))

    def histogram(self, name: str, values: Any, step: int) -> None:
        """Record a histogram of an array."""
        self._send(lambda: self._run.log({name: self._wandb.Histogram(values)}, step=step))

    def finish(self, exit_code: int) -> None:
        """End the run, so that the next job of this process starts its own."""
        self._send(lambda: self._run.finish(exit_code=exit_code))

    def _send(self, call: Callable[[], object]) -> None:
        """Hand something to W&B; once it is lost, go on without: no result depends on it.

        Its service is a process of its own, which the signal that announces a requeue ends as well: its error must
        not take the place of the requeue.
        """
        if self._lost:
            return
        try:
            call()
        except Exception as error:
            self._lost = True
            say(f"  W&B is lost ({type(error).__name__}: {error}); the files of the artefact do not need it")


def _nonce(partial: Path) -> str:
    path = partial / SCRATCH / "tracker-nonce"
    if not path.exists():
        path.write_text(secrets.token_hex(4))
    return path.read_text()


@contextlib.contextmanager
def stage_tracker(build: Build) -> Iterator[Tracker]:
    """Open the tracker that ``logging.tracker`` names for the length of one stage."""
    if build.config.logging.tracker == "csv":
        yield build.tracker
        return
    tracker = WandbTracker(build)
    build.tracker = tracker
    try:
        yield tracker
    except BaseException:
        tracker.finish(exit_code=1)
        raise
    tracker.finish(exit_code=0)
