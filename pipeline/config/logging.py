"""Schema of trackers."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class LoggingConfig:
    """Trackers besides the CSV files, which are always written."""

    tracker: str = "csv"
    """csv | wandb | tensorboard | mlflow."""
    mode: str = "offline"
    """wandb: online | offline."""
    uri: str | None = None
    """mlflow: tracking server; null: the environment's MLFLOW_TRACKING_URI."""
    project: str = "seedscope"
    entity: str | None = None
    folder: str = "wandb"
    tags: list[str] = field(default_factory=list)
