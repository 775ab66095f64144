"""Hydra callbacks: refuse an impossible sweep before it starts, keep each failing job's error, write no password."""

from __future__ import annotations

import logging
import os
import sys
import traceback
import uuid
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from omegaconf import OmegaConf

from pipeline.errors import UserError
from pipeline.shown_text import masked_yaml, shown, typed


def launcher_problem(tasks_per_node: int | None, devices: int) -> str | None:
    """Say what is wrong with a cluster launcher's tasks, in one sentence.

    A job is one task: it owns its artifact and starts the ranks on the devices itself. Further tasks would
    each train the same run and wait for the first one's lock.

    Parameters
    ----------
    tasks_per_node : int or None
        Of the launcher; None for launchers without tasks.
    devices : int
        ``hardware.devices``.
    """
    if tasks_per_node in (None, 1):
        return None
    return (
        f"hydra.launcher.tasks_per_node={tasks_per_node} is impossible: one task per job starts its own ranks. "
        f"Leave it at 1 and set numerics.world_size for several devices (hardware.devices={devices} now)."
    )


def password_problem(launcher: str, settings: str) -> str | None:
    """Say that a cluster's launcher would write a password into the files that it hands to its jobs.

    Parameters
    ----------
    launcher : str
        ``hydra.launcher._target_``.
    settings : str
        The sweep's composed configuration as YAML, interpolations unresolved.
    """
    hidden = masked_yaml(settings)
    if "submitit" not in launcher or hidden == settings:
        return None
    line = next(new for old, new in zip(settings.splitlines(), hidden.splitlines(), strict=True) if old != new)
    return (
        f"{line.strip().removeprefix('- ')!r} holds a password, and submitit hands settings to its jobs in files: put "
        "the value into a variable of the environment, which jobs inherit, and name that one, such as "
        "'logging.uri=${oc.env:MLFLOW_TRACKING_URI}'."
    )


class SweepChecks(Callback):
    """Look at the launcher once, before the sweep starts, and give all its jobs one mark."""

    def on_multirun_start(self, config: Any, **kwargs: Any) -> None:
        """Refuse the sweep; Hydra turns exceptions of callbacks into warnings, so this exits."""
        launcher = config.hydra.launcher
        problem = launcher_problem(launcher.get("tasks_per_node"), config.hardware.devices)
        problem = problem or password_problem(str(launcher.get("_target_")), _WRITTEN(config))
        if problem is not None:
            print(f"\nerror: {typed(problem)}", file=sys.stderr)
            raise SystemExit(2)
        from pipeline.engine.rebuild import SWEEP  # not for a command that is no sweep: it costs 40 ms

        os.environ[SWEEP] = uuid.uuid4().hex[:12]

    def on_multirun_end(self, config: Any, **kwargs: Any) -> None:
        """Forget the mark."""
        from pipeline.engine.rebuild import SWEEP

        os.environ.pop(SWEEP, None)


_WRITTEN = OmegaConf.to_yaml
"""As OmegaConf brings it."""


def mask_records() -> None:
    """Have OmegaConf write YAML without passwords: ``.hydra``, ``multirun.yaml`` and what ``--cfg`` prints.

    Hydra writes these before it calls any callback, and a kill in between would leave a password in them.
    """

    def to_yaml(*arguments: Any, **options: Any) -> str:
        return masked_yaml(_WRITTEN(*arguments, **options))

    OmegaConf.to_yaml = to_yaml  # type: ignore[method-assign]


def mask_logs() -> None:
    """Have Hydra's loggers, which list the overrides of a sweep's jobs, show no password."""
    make = logging.getLogRecordFactory()

    def made(*arguments: Any, **options: Any) -> logging.LogRecord:
        record = make(*arguments, **options)
        if record.name.partition(".")[0] == "hydra":
            record.msg, record.args = shown(record.getMessage()), ()
        return record

    logging.setLogRecordFactory(made)


mask_logs()
mask_records()  # when Hydra loads its callbacks, also in the processes of a sweep


class FailureLog(Callback):
    """Log the exception of each failed job of a sweep, at whose end only the first is shown."""

    def on_job_end(self, config: Any, job_return: JobReturn, **kwargs: Any) -> None:
        """Write the failure to the job's log; with its frames where we are at fault."""
        if job_return.status != JobStatus.FAILED:
            return
        error = job_return._return_value
        # what a user can act on is one sentence
        text = str(error) if isinstance(error, UserError) else "".join(traceback.format_exception(error))
        logging.getLogger("seedscope").error("%s", shown(text))
