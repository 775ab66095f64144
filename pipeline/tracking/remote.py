"""A tracker whose service may be away: what it is told is kept until the service has it."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from pipeline.config.logging import LoggingConfig
from pipeline.errors import UserError
from pipeline.machine.progress import say
from pipeline.tracking.base import Tracker, numbers, plain
from pipeline.tracking.journal import Entry, Journal, TrackedRun

_PAUSE = 300.0
"""Seconds for which a service that could not be opened is not tried again."""


class RemoteTracker(Tracker):
    """A tracker whose service may fail: nothing of the stage depends on it, and nothing that it was told is lost.

    Every call is written to the run's journal and then delivered. If the service cannot be opened or fails, this is
    said once, the stage goes on, and the journal is kept for ``stage=sync``. The service may be a separate process,
    which the signal that announces a requeue also ends; its error must not hide the requeue.

    A subclass connects in :meth:`connect` and hands single entries on in :meth:`deliver`.

    Parameters
    ----------
    run : TrackedRun
        What is tracked.
    settings : LoggingConfig
        Section ``logging``.
    folder : Path
        The run's journal; an earlier process may have left one.
    keep : Path, optional
        Where the journal goes if the service does not have it at the end; by default it stays.

    Raises
    ------
    UserError
        If the tracker's package is not installed, or a setting that it needs is missing.
    """

    service: str
    shows_images = True
    _away: ClassVar[dict[tuple[str, str], float]] = {}

    def __init__(self, run: TrackedRun, settings: LoggingConfig, folder: Path, keep: Path | None = None) -> None:
        self.run, self.settings = run, settings
        self.journal, self._keep = Journal(folder), keep
        self.lost = self._began = False
        self._earlier = len(self.journal)
        place = (self.service, self.place())
        if self.recently_away(place):
            self.lost = True  # said a moment ago for another artifact, and waiting again would take as long
            return
        try:
            self.connect()
        except UserError:
            raise
        except Exception as error:
            self._away[place] = time.monotonic()
            self._lose(error, "cannot be opened")

    def recently_away(self, place: tuple[str, str]) -> bool:
        """Whether a place could not be opened a short time ago, so that not every artifact waits for it."""
        return time.monotonic() - self._away.get(place, -math.inf) < _PAUSE

    def place(self) -> str:
        """Where the service is."""
        return self.settings.folder

    def connect(self) -> None:
        """Open the run, within a bounded time."""
        raise NotImplementedError

    def deliver(self, entry: Entry) -> None:
        """Hand one entry to the service."""
        raise NotImplementedError

    def close(self, exit_code: int) -> None:
        """End the run of the service."""

    def wait(self) -> None:
        """Leave the run of the service for now: no failure, and no end."""
        self.close(0)

    def to_repeat(self) -> int:
        """First of the journal's earlier entries that the service does not have."""
        return self.journal.delivered

    def forget_earlier(self) -> None:
        """Drop what an earlier process left with the service, after everything was repeated."""

    def log(self, values: Mapping[str, Any], step: int | None = None) -> None:
        """Record numbers at a step; without one, everything plain as the run's summary."""
        self._take(Entry("log", step, content=plain(values) if step is None else numbers(values)))

    def image(self, name: str, png: bytes, step: int | None = None) -> None:
        """Record a PNG picture, at a step or as the run's."""
        self._take(Entry("image", step, name, data=png))

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Record a table."""
        self._take(Entry("table", None, name, {"columns": list(columns), "rows": [list(row) for row in rows]}))

    def histogram(self, name: str, values: Any, step: int) -> None:
        """Record the distribution of an array at a step."""
        self._take(Entry("histogram", step, name, data=np.asarray(values)))

    def pause(self) -> None:
        """Leave the run while its artifact waits for others; the journal stays, and the run is taken up again."""
        self._begin(None)
        self._send(self.wait)

    def finish(self, exit_code: int) -> None:
        """End the run; a journal that its service does not have is kept."""
        self._begin(None)
        if not self.lost:
            self._send(partial(self.close, exit_code))
        if exit_code == 0:
            self._settle()

    def _settle(self) -> None:
        try:
            if not self.lost:
                self.journal.remove()
            elif self._keep is not None:
                self.journal.keep(self.run, self._keep)
        except OSError as error:
            say(f"  what {self.service} missed cannot be kept either: {error}")

    def _begin(self, step: int | None) -> None:
        """Deliver first what an earlier process told, up to the step at which this one goes on."""
        if self._began:
            return
        self._began = True
        if self._earlier == 0:
            return
        with contextlib.suppress(OSError):
            if step is not None:
                self.journal.cut(step)
            if self.lost:
                return
            for entry in self.journal.entries(self.to_repeat()):
                self._send(partial(self.deliver, entry))
            if not self.lost:
                self.forget_earlier()

    def _take(self, entry: Entry) -> None:
        self._begin(entry.step)
        try:
            self.journal.append(entry)
        except OSError as error:  # a full disk is the artifact's own trouble, and told there
            self._lose(error, "has no journal")
        self._send(partial(self.deliver, entry))
        if not self.lost:
            with contextlib.suppress(OSError):
                self.journal.delivered = len(self.journal)

    def _send(self, call: Callable[[], object]) -> None:
        if self.lost:
            return
        try:
            call()
        except Exception as error:
            self._lose(error, "has failed")

    def _lose(self, error: Exception, what: str) -> None:
        self.lost = True
        say(
            f"  {self.service} {what} ({type(error).__name__}: {error}). The work goes on without it, and what it "
            f"misses is kept. Send it later with:\n    {self.run.sync}"
        )
