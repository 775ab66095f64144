"""Hydra callback: a failing job of a sweep keeps its whole traceback in its own log file."""

from __future__ import annotations

import logging
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback


class FailureLog(Callback):
    """Log the exception of a failed job; Hydra itself prints only the first failure of a sweep."""

    def on_job_end(self, config: Any, job_return: JobReturn, **kwargs: Any) -> None:
        """Write the failure with its frames to the job's log."""
        if job_return.status != JobStatus.FAILED:
            return
        error = job_return._return_value
        if isinstance(error, SystemExit):
            return
        logging.getLogger("seedscope").error("%s", error, exc_info=error)
