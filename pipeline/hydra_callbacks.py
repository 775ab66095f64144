"""Hydra callbacks: refuse an impossible sweep before it starts, mask passwords, keep the error of each failing job."""

from __future__ import annotations

import logging
import os
import sys
import traceback
import uuid
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback

from pipeline.errors import UserError
from pipeline.shown_text import masked, shown


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


class SweepChecks(Callback):
    """Look at the launcher once, before the sweep starts, and give all its jobs one mark."""

    def on_multirun_start(self, config: Any, **kwargs: Any) -> None:
        """Refuse the sweep; Hydra turns exceptions of callbacks into warnings, so this exits."""
        launcher = config.hydra.launcher
        problem = launcher_problem(launcher.get("tasks_per_node"), config.hardware.devices)
        if problem is not None:
            print(f"\nerror: {problem}", file=sys.stderr)
            raise SystemExit(2)
        from pipeline.engine.rebuild import SWEEP  # not for a command that is no sweep: it costs 40 ms

        os.environ[SWEEP] = uuid.uuid4().hex[:12]

    def on_multirun_end(self, config: Any, **kwargs: Any) -> None:
        """Forget the mark."""
        from pipeline.engine.rebuild import SWEEP

        os.environ.pop(SWEEP, None)


class MaskedRecords(Callback):
    """Take passwords out of what Hydra keeps of a command: its folder ``.hydra`` and a sweep's ``multirun.yaml``."""

    def on_job_start(self, config: Any, **kwargs: Any) -> None:
        """Mask the records of a job, which Hydra has just written, and of its sweep."""
        if (name := config.hydra.output_subdir) is not None:
            _mask(*Path(config.hydra.runtime.output_dir, name).glob("*.yaml"))
        _mask(Path(config.hydra.sweep.dir, "multirun.yaml"))

    def on_multirun_end(self, config: Any, **kwargs: Any) -> None:
        """Mask the record of a sweep whose jobs ran on other machines."""
        _mask(Path(config.hydra.sweep.dir, "multirun.yaml"))


def _mask(*paths: Path) -> None:
    for path in paths:
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        if (without := masked(text)) != text:
            path.write_text(without, encoding="utf-8")


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
