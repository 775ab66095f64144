"""Open the tracker that a configuration names."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator

from pipeline.config.logging import TRACKERS
from pipeline.tracking.base import TrackedBuild, Tracker


def open_tracker(build: TrackedBuild) -> Tracker:
    """Start the tracker that ``logging.tracker`` names."""
    place = TRACKERS[build.config.logging.tracker]
    if place is None:
        return build.tracker
    module, name = place.split(":")
    return getattr(importlib.import_module(module), name)(build)


@contextlib.contextmanager
def stage_tracker(build: TrackedBuild) -> Iterator[Tracker]:
    """Keep the tracker open for the length of one stage."""
    tracker = build.tracker = open_tracker(build)
    try:
        yield tracker
    except BaseException:
        tracker.finish(exit_code=1)
        raise
    tracker.finish(exit_code=0)
