"""MLflow: one run per artifact on the tracking server that ``logging.uri`` or MLFLOW_TRACKING_URI names."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from pipeline.config.logging import MLFLOW_URI
from pipeline.errors import UserError
from pipeline.tracking.base import needed, numbers
from pipeline.tracking.journal import Entry
from pipeline.tracking.remote import RemoteTracker

QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)
_LONGEST = 500  # characters of a parameter that every server takes
_BATCH = 100  # MLflow's limit on parameters in one call
_PATIENCE = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",  # MLflow's own are two minutes and seven tries: a stage would wait for an hour
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
}


class MlflowTracker(RemoteTracker):
    """One MLflow run per artifact: experiment = experiment, tags = stage, key and ``logging.tags``.

    MLflow has no histograms: distributions become their quartiles and extremes, ``NAME/q0`` to ``NAME/q100``. The
    run's id is kept beside the journal, so that a requeued job resumes it.
    """

    service = "MLflow"

    def place(self) -> str:
        """Address of the server."""
        return self.settings.uri or os.environ.get(MLFLOW_URI) or ""

    def connect(self) -> None:
        """Begin the run, or take it up again.

        Raises
        ------
        UserError
            If the package is missing, or no server is named.
        """
        for name, value in _PATIENCE.items():
            os.environ.setdefault(name, value)
        mlflow = needed("mlflow", "mlflow")
        uri = self.place()
        if not uri:
            raise UserError(
                "logging=mlflow needs a tracking server: logging.uri=http://host:5000 (or MLFLOW_TRACKING_URI). A "
                "local database, logging.uri=sqlite:///mlflow.db, needs the whole package (pip install mlflow)."
            )
        self._client = mlflow.MlflowClient(tracking_uri=uri)
        self._id = self._start()
        # What an earlier process of this construction has written stays: MLflow refuses another value.
        known = self._client.get_run(self._id).data.params
        values = [(name, value) for name, value in _parameters(self.run.note).items() if name not in known]
        for start in range(0, len(values), _BATCH):
            batch = values[start : start + _BATCH]
            parameters = [mlflow.entities.Param(name, value) for name, value in batch]
            self._client.log_batch(self._id, params=parameters)

    def _start(self) -> str:
        """Begin the run of this construction, or take it up again."""
        kept = self.journal.folder / "mlflow-run"
        identifier = kept.read_bytes().decode("ascii", "replace") if kept.is_file() else ""
        if re.fullmatch(r"[\w-]+", identifier) and self._is_known(identifier):
            self._client.update_run(identifier, status="RUNNING")
            return identifier
        self.journal.delivered = 0  # the note is damaged, or somebody deleted the run
        run = self.run
        found = self._client.get_experiment_by_name(run.experiment)
        experiment = found.experiment_id if found else self._client.create_experiment(run.experiment)
        tags = {"stage": run.stage, "artifact_key": run.key} | dict.fromkeys(self.settings.tags, "true")
        made = self._client.create_run(experiment, run_name=run.name, tags=tags)
        kept.write_text(str(made.info.run_id), encoding="utf-8")
        return str(made.info.run_id)

    def _is_known(self, identifier: str) -> bool:
        from mlflow.exceptions import MlflowException

        try:
            return bool(self._client.get_run(identifier).info.lifecycle_stage == "active")
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return False
            raise

    def deliver(self, entry: Entry) -> None:
        """Record numbers as metrics, words of the summary as tags, pictures, tables, and quantiles of an array."""
        name, step = _name(entry.name), entry.step
        if entry.kind == "log":
            for measure, value in numbers(entry.content).items():
                self._client.log_metric(self._id, _name(measure), value, step=step or 0)
            for measure, word in entry.content.items():
                if isinstance(word, str):
                    self._client.set_tag(self._id, _name(measure), word)
        elif entry.kind == "histogram":
            levels = np.quantile(np.asarray(entry.data, np.float64), QUANTILES)
            for q, level in zip(QUANTILES, levels, strict=True):
                self._client.log_metric(self._id, _name(f"{entry.name}/q{100 * q:.0f}"), float(level), step=step)
        elif entry.kind == "image":
            from PIL import Image

            picture = Image.open(io.BytesIO(entry.data))
            now = {"synchronous": True}  # overrides the environment: no picture may wait for an exit that ranks skip
            if step is None:
                self._client.log_image(self._id, picture, artifact_file=f"figures/{name}.png", **now)
            else:
                self._client.log_image(self._id, picture, key=name, step=step, **now)
        else:
            text = io.StringIO()
            csv.writer(text).writerows([entry.content["columns"], *entry.content["rows"]])
            self._client.log_text(self._id, text.getvalue(), f"tables/{name}.csv")

    def wait(self) -> None:
        """Mark the run as one that goes on later."""
        self._client.update_run(self._id, status="SCHEDULED")

    def close(self, exit_code: int) -> None:
        """End the run as finished or failed."""
        self._client.set_terminated(self._id, "FINISHED" if exit_code == 0 else "FAILED")


def _parameters(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Flatten nested settings to texts, lists as they are written."""
    found: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= _parameters(value, f"{prefix}{name}/")
        elif value not in (None, ""):
            found[_name(f"{prefix}{name}")] = str(value)[:_LONGEST]
    return found


def _name(text: str) -> str:
    """Replace what MLflow refuses in names."""
    return re.sub(r"[^\w\-. /]", "_", text)[:250]
