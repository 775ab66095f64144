"""Open the tracker that a configuration names."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from pipeline.tracking.base import TrackedBuild, Tracker


def open_tracker(build: TrackedBuild) -> Tracker:
    """Start the tracker that ``logging.tracker`` names."""
    name = build.config.logging.tracker
    if name == "wandb":
        from pipeline.tracking.wandb_tracker import WandbTracker

        return WandbTracker(build)
    if name == "tensorboard":
        from pipeline.tracking.tensorboard_tracker import TensorBoardTracker

        return TensorBoardTracker(build)
    if name == "mlflow":
        from pipeline.tracking.mlflow_tracker import MlflowTracker

        return MlflowTracker(build)
    return build.tracker


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
