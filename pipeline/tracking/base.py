"""Trackers outside the store. Files in the store are the only thing that the pipeline itself reads."""

from __future__ import annotations

import importlib
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipeline.engine.artifacts import SCRATCH
from pipeline.errors import UserError
from pipeline.machine.progress import say

if TYPE_CHECKING:
    from pipeline.engine.build import Build


class Tracker:
    """Tracks nothing: the CSV and JSON files of the artefact are enough.

    Attributes
    ----------
    shows_images : bool
        Whether a picture is worth drawing for this tracker alone.
    """

    shows_images = False

    def log(self, values: Mapping[str, Any], step: int | None = None) -> None:
        """Record numbers at a step; without one, everything plain as the run's summary."""

    def image(self, name: str, png: bytes, step: int | None = None) -> None:
        """Record a picture, at a step or as the run's."""

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Record a table."""

    def histogram(self, name: str, values: Any, step: int) -> None:
        """Record the distribution of an array at a step."""

    def finish(self, exit_code: int) -> None:
        """End the run, so that the next job of this process starts its own."""


class RemoteTracker(Tracker):
    """A tracker that may be lost on the way; the stage goes on without it, for no result depends on it.

    Its service is a process of its own, which the signal that announces a requeue ends as well: its error must not
    take the place of the requeue.
    """

    service: str
    shows_images = True

    def __init__(self) -> None:
        self._lost = False

    def _send(self, call: Callable[..., object], *args: object, **options: object) -> None:
        if self._lost:
            return
        try:
            call(*args, **options)
        except Exception as error:
            self._lost = True
            say(f"  {self.service} is lost ({type(error).__name__}: {error}); the files of the artefact do not need it")


def plain(values: Mapping[str, Any], prefix: str = "") -> dict[str, int | float | str | bool]:
    """Flatten nested mappings to the scalars that a tracker shows, names joined by ``/``."""
    found: dict[str, int | float | str | bool] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= plain(value, f"{prefix}{name}/")
        elif isinstance(value, (int, float, str, bool)):
            found[f"{prefix}{name}"] = value
    return found


def numbers(values: Mapping[str, Any]) -> dict[str, int | float]:
    """Keep the numbers of a flat or nested mapping, truth values as 0 and 1."""
    return {name: value for name, value in plain(values).items() if isinstance(value, (int, float))}


def note(build: Build) -> dict[str, Any]:
    """Everything a run of a tracker is told of its artefact: the configuration that its key covers, and its origin."""
    node = build.node
    upstream = [other.key for other in node.upstream()]
    return {**node.sections, "artifact_key": node.key, "upstream_keys": upstream, "command": node.command}


def nonce(build: Build) -> str:
    """Draw this construction's own mark: the same over a requeue, new when the artefact is made again."""
    path = build.folder / SCRATCH / "tracker-nonce"
    if not path.exists():
        path.write_text(secrets.token_hex(4))
    return path.read_text()


def needed(package: str, extra: str) -> Any:
    """Import the package of a tracker.

    Raises
    ------
    UserError
        If it is not installed.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise UserError(
            f"logging={extra} needs the package {package.partition('.')[0]} ({error}): install the extra with "
            f"`pip install '.[{extra}]'`, or use logging=csv."
        ) from error
