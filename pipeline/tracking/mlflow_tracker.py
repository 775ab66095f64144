"""MLflow: one run per artifact on the tracking server that ``logging.uri`` or MLFLOW_TRACKING_URI names."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.config.logging import MLFLOW_URI
from pipeline.errors import UserError
from pipeline.tracking.base import RemoteTracker, TrackedBuild, needed, note, numbers, plain

QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)
_BATCH = 100  # MLflow's limit on parameters in one call


class MlflowTracker(RemoteTracker):
    """One MLflow run per artifact: experiment = experiment, tags = stage, key and ``logging.tags``.

    MLflow has no histograms: distributions become their quartiles and extremes, ``NAME/q0`` to ``NAME/q100``.

    Parameters
    ----------
    build : TrackedBuild
        The artifact under construction. The run's id is kept in its scratch folder, so that a requeued job resumes it.

    Raises
    ------
    UserError
        If the package is missing, no server is named, or it does not answer.
    """

    service = "MLflow"

    def __init__(self, build: TrackedBuild) -> None:
        super().__init__()
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        mlflow = needed("mlflow", "mlflow")
        uri = build.config.logging.uri or os.environ.get(MLFLOW_URI)
        if not uri:
            raise UserError(
                "logging=mlflow needs a tracking server: logging.uri=http://host:5000 (or MLFLOW_TRACKING_URI). A "
                "local database, logging.uri=sqlite:///mlflow.db, needs the whole package (pip install mlflow)."
            )
        try:
            self._client = mlflow.MlflowClient(tracking_uri=uri)
            self._run = self._start(build)
        except mlflow.exceptions.MlflowException as error:
            raise UserError(f"MLflow at {uri} does not take a run: {error}") from error
        values = list(plain(note(build)).items())
        for start in range(0, len(values), _BATCH):
            parameters = [
                mlflow.entities.Param(_name(key), str(value)) for key, value in values[start : start + _BATCH]
            ]
            self._send(self._client.log_batch, self._run, params=parameters)

    def _start(self, build: TrackedBuild) -> str:
        """Begin the run of this construction, or take it up again."""
        kept = build.scratch / "mlflow-run"
        if kept.exists():
            run = kept.read_text(encoding="utf-8")
            self._client.update_run(run, status="RUNNING")
            return run
        node, config = build.node, build.config
        found = self._client.get_experiment_by_name(config.experiment_name)
        experiment = found.experiment_id if found else self._client.create_experiment(config.experiment_name)
        tags = {"stage": node.stage.name, "artifact_key": node.key} | dict.fromkeys(config.logging.tags, "true")
        name = f"{node.stage.name} {node.slug}"
        run = str(self._client.create_run(experiment, run_name=name, tags=tags).info.run_id)
        kept.write_text(run, encoding="utf-8")
        return run

    def log(self, values: Mapping[str, Any], step: int | None = None) -> None:
        """Record numbers at a step, or as the run's summary: numbers as metrics, words as tags."""
        for name, value in numbers(values).items():
            self._send(self._client.log_metric, self._run, _name(name), value, step=step or 0)
        if step is None:
            words = {name: value for name, value in plain(values).items() if isinstance(value, str)}
            for key, word in words.items():
                self._send(self._client.set_tag, self._run, _name(key), word)

    def image(self, name: str, png: bytes, step: int | None = None) -> None:
        """Record a PNG picture, at a step or as the run's."""
        from PIL import Image

        picture = Image.open(io.BytesIO(png))
        now = {"synchronous": True}  # overrides the environment: no picture may wait for an exit that ranks skip
        if step is None:
            self._send(self._client.log_image, self._run, picture, artifact_file=f"figures/{_name(name)}.png", **now)
        else:
            self._send(self._client.log_image, self._run, picture, key=_name(name), step=step, **now)

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Record a table as CSV, which MLflow's page shows as a table."""
        text = io.StringIO()
        csv.writer(text).writerows([columns, *rows])
        self._send(self._client.log_text, self._run, text.getvalue(), f"tables/{_name(name)}.csv")

    def histogram(self, name: str, values: Any, step: int) -> None:
        """Record the quartiles and extremes of an array."""
        levels = np.quantile(np.asarray(values, np.float64), QUANTILES)
        self.log({f"{name}/q{100 * q:.0f}": float(level) for q, level in zip(QUANTILES, levels, strict=True)}, step)

    def finish(self, exit_code: int) -> None:
        """End the run as finished or failed."""
        self._send(self._client.set_terminated, self._run, "FINISHED" if exit_code == 0 else "FAILED")


def _name(text: str) -> str:
    """Replace what MLflow refuses in names."""
    return re.sub(r"[^\w\-. /]", "_", text)[:250]
