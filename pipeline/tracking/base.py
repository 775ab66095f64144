"""Trackers outside the store. Files in the store are the only thing that the pipeline itself reads."""

from __future__ import annotations

import dataclasses
import importlib
import re
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from pipeline.config.run import RunConfig
from pipeline.errors import UserError
from pipeline.machine.deletion import remove
from pipeline.shown_text import cell_words, masked
from pipeline.tracking.journal import TrackedRun


@runtime_checkable
class TrackedStage(Protocol):
    """What a tracker reads of a row of the stage table."""

    @property
    def name(self) -> str:
        """What users type after ``stage=``."""
        ...


@runtime_checkable
class TrackedNode(Protocol):
    """What a tracker reads of an artifact's place in the graph."""

    @property
    def stage(self) -> TrackedStage:
        """The stage that makes it."""
        ...

    @property
    def key(self) -> str:
        """Its address."""
        ...

    @property
    def slug(self) -> str:
        """Readable part of its folder's name."""
        ...

    @property
    def sections(self) -> dict[str, Any]:
        """The hashed fields of its configuration."""
        ...

    @property
    def command(self) -> str:
        """Shell command that makes it."""
        ...

    @property
    def sync_command(self) -> str:
        """Shell command that sends what its tracker missed."""
        ...

    def upstream(self) -> Sequence[TrackedNode]:
        """List what it needs."""
        ...


@runtime_checkable
class TrackedBuild(Protocol):
    """What a tracker reads of an artifact under construction, so that trackers need nothing of the engine."""

    tracker: Tracker

    @property
    def node(self) -> TrackedNode:
        """What is being made."""
        ...

    @property
    def config(self) -> RunConfig:
        """Configuration of the run."""
        ...

    @property
    def folder(self) -> Path:
        """Construction folder."""
        ...

    @property
    def labels(self) -> Mapping[str, str]:
        """Labels of the cells that it serves."""
        ...

    @property
    def scratch(self) -> Path:
        """Folder that survives a kill and is deleted on completion."""
        ...


class Tracker:
    """Tracks nothing: the CSV and JSON files of the artifact are enough.

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

    def pause(self) -> None:
        """Leave the run while its artifact waits for others; it is taken up again."""

    def finish(self, exit_code: int) -> None:
        """End the run, so that the next job of this process starts its own."""


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


_OF_NO_CELL = (
    "stage upstream workers allow_missing rebuild cells cells_limit gc_delete gc_finished watch serve wants published "
    "report hardware logging paths"
).split()
"""Settings of a command, a machine or a page; a requeue may change them."""


def note(build: TrackedBuild) -> dict[str, Any]:
    """Collect the metadata logged with every tracker run.

    They are the hashed settings, keys and command, and of a run that belongs to a cell its labels (``cell``) and all
    of its settings (``settings``): those of what it rests on are in no section of its own.
    """
    node = build.node
    upstream = [other.key for other in node.upstream()]
    sections = {name: _masked(value) for name, value in node.sections.items()}
    found = {**sections, "artifact_key": node.key, "upstream_keys": upstream, "command": node.command}
    settings = dataclasses.asdict(build.config)
    whole = {name: _masked(value) for name, value in settings.items() if name not in _OF_NO_CELL}
    return {**found, "cell": dict(build.labels), "settings": whole}


def _masked(value: Any) -> Any:
    """Mask the texts of a setting, also those in lists and mappings."""
    if isinstance(value, Mapping):
        return {name: _masked(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_masked(item) for item in value]
    return masked(value) if isinstance(value, str) else value


def nonce(build: TrackedBuild) -> str:
    """Draw a random mark of this construction: the same after a requeue, a new one when the artifact is rebuilt."""
    path = build.scratch / "tracker-nonce"
    kept = path.read_bytes().decode("ascii", "replace") if path.is_file() else ""
    if not re.fullmatch("[0-9a-f]{8}", kept):  # none yet, or damaged: the run continues under a new mark
        kept = secrets.token_hex(4)
        remove(path)
        path.write_text(kept, encoding="utf-8")
    return kept


def run_of(build: TrackedBuild) -> TrackedRun:
    """Describe an artifact under construction for a tracker."""
    node, config = build.node, build.config
    return TrackedRun(
        tracker=config.logging.tracker,
        experiment=config.experiment_name,
        stage=node.stage.name,
        slug=node.slug,
        key=node.key,
        nonce=nonce(build),
        target=node.stage.name == config.stage,
        sync=node.sync_command,
        note=note(build),
        cell=cell_words(build.labels),
    )


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
