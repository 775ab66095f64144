"""Schema of trackers, and the table of them."""

from __future__ import annotations

from dataclasses import dataclass

from models.fields import choice, setting

TRACKERS: dict[str, str | None] = {
    "csv": None,
    "wandb": "pipeline.tracking.wandb_tracker:WandbTracker",
    "tensorboard": "pipeline.tracking.tensorboard_tracker:TensorBoardTracker",
    "mlflow": "pipeline.tracking.mlflow_tracker:MlflowTracker",
}
"""Name to ``module:Class``, imported when the tracker is opened; None: the files of the artifact are enough."""

MLFLOW_URI = "MLFLOW_TRACKING_URI"
"""Variable of the environment that holds MLflow's server where ``logging.uri`` is null."""


@dataclass
class LoggingConfig:
    """Trackers besides the CSV files, which are always written."""

    tracker: str = choice(*TRACKERS, default="csv", help="Which tracker; csv is the files alone.")
    mode: str = choice("online", "offline", default="offline", help="wandb: send while running, or keep files.")
    uri: str | None = setting(None, "mlflow: tracking server; null: the environment's MLFLOW_TRACKING_URI.")
    project: str = setting("seedscope", "Project or experiment that runs are filed under.")
    entity: str | None = setting(None, "wandb: team or user.")
    folder: str = setting("wandb", "Folder of the tracker's own files.")
    tags: list[str] = setting([], "Tags of every run.")
