"""Open the tracker that a configuration names."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator

from pipeline.config.logging import TRACKERS
from pipeline.errors import TakenUpLater
from pipeline.tracking.base import TrackedBuild, Tracker, run_of
from pipeline.tracking.journal import FOLDER
from pipeline.tracking.remote import RemoteTracker


def tracker_class(name: str) -> type[RemoteTracker] | None:
    """Import a tracker; None for ``csv``."""
    place = TRACKERS[name]
    if place is None:
        return None
    module, attribute = place.split(":")
    return getattr(importlib.import_module(module), attribute)


def open_tracker(build: TrackedBuild) -> Tracker:
    """Start the tracker that ``logging.tracker`` names."""
    kind = tracker_class(build.config.logging.tracker)
    if kind is None:
        return build.tracker
    return kind(run_of(build), build.config.logging, build.scratch / FOLDER, build.folder / "logs" / FOLDER)


@contextlib.contextmanager
def stage_tracker(build: TrackedBuild) -> Iterator[Tracker]:
    """Keep the tracker open for the length of one stage."""
    tracker = build.tracker = open_tracker(build)
    try:
        yield tracker
    except TakenUpLater:
        tracker.pause()
        raise
    except BaseException:
        tracker.finish(exit_code=1)
        raise
    tracker.finish(exit_code=0)
