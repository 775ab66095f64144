"""Progress reporting: a live line on a terminal, plain lines in a log."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from pipeline.machine.side_files import read_record
from pipeline.shown_text import shown, typed, visible

Item = TypeVar("Item")
_PLAIN_SECONDS = 10.0
_NOTE = "progress.json"
_SIDES = (("rows", "row_block"), ("columns", "column_block"))
"""Names in a kernel's plan."""


def say(message: str, stamp: str = "") -> None:
    """Print one line to the error stream at once and to the command's log; the standard output is for results.

    Parameters
    ----------
    message : str
        The line.
    stamp : str
        Time to print before it; the log has its own.
    """
    with contextlib.suppress(OSError):  # a closed window or a pipe that nobody reads stops no training
        print(stamp + typed(shown(message)), file=sys.stderr, flush=True)
    write_log(message)


def write_log(message: str) -> None:
    """Write one line, with the time, to the log files of this command, which Hydra opens in its output folder."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.FileHandler):
            handler.handle(logging.LogRecord("seedscope", logging.INFO, "", 0, typed(shown(message)), None, None))


def track(items: Iterable[Item], label: str, total: int) -> Iterator[Item]:
    """Iterate, and show progress and the estimated time left.

    Parameters
    ----------
    items : iterable
        What to iterate over.
    label : str
        What is being done.
    total : int
        Number of items.
    """
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.markup import escape
        from rich.progress import Progress

        with Progress(console=Console(stderr=True), transient=True) as progress:
            yield from progress.track(items, total=total, description=escape(visible(label)))
        return
    started = said = time.monotonic()
    for count, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if now - said >= _PLAIN_SECONDS and count < total:
            left = (now - started) / count * (total - count)
            say(f"  {label}: {count}/{total}, about {left:.0f} s left")
            said = now


def counted(text: str) -> Callable[[], None]:
    """Give a function that counts its calls and says so every ten seconds at most: work of unknown length goes on.

    Parameters
    ----------
    text : str
        With a place for the count, such as ``"fit: {} passes over the kernel"``.
    """
    started = said = time.monotonic()
    count = 0

    def call() -> None:
        nonlocal count, said
        count += 1
        now = time.monotonic()
        if now - said >= _PLAIN_SECONDS:
            said = now
            say(f"  {text.format(f'{count:,}')}, {now - started:.0f} s so far")

    return call


def note_progress(scratch: Path, done: int, total: int, text: str, seconds_left: float | None) -> None:
    """Leave a note in a construction folder's scratch on how far its stage is, for ``stage=status``.

    Parameters
    ----------
    scratch : Path
        Deleted when the artifact is complete, and the note with it.
    done, total : int
        Units of work.
    text : str
        What to show, such as ``epoch 3/10``.
    seconds_left : float or None
        Estimated at the time of writing.
    """
    path = scratch / _NOTE
    written = path.with_suffix(".writing")
    note = {"done": done, "total": total, "text": text, "seconds_left": seconds_left, "written": time.time()}
    written.write_text(json.dumps(note), encoding="utf-8")
    os.replace(written, path)


def read_progress(scratch: Path) -> dict[str, Any] | None:
    """Read the note of a stage under construction, or count the tiles of a kernel; None if there is neither."""
    note = read_record(scratch / _NOTE)
    if note is None or not isinstance(note.get("text"), str):
        return _tiles(scratch)
    numbers = [note.get("written"), note.get("seconds_left")]
    if not all(isinstance(value, (int, float)) for value in numbers):
        note["seconds_left"] = None
    return note


def _tiles(scratch: Path) -> dict[str, Any] | None:
    """Say which tile of its matrix a kernel computes, as the ledger of finished tiles tells; None without one."""
    try:
        newest = max(scratch.glob("*.ledger"), key=lambda path: path.stat().st_mtime, default=None)
        if newest is None:
            return None
        header, *done = newest.read_text(encoding="utf-8").splitlines()
        plan = json.loads(header)["plan"]
        rows, columns = (math.ceil(plan[side] / plan[block]) for side, block in _SIDES)
        total = rows * (rows + 1) // 2 if plan["square"] else rows * columns
        written = newest.stat().st_mtime
    except (OSError, ValueError, KeyError, TypeError, ZeroDivisionError):  # its first line is being written
        return None
    text = f"{newest.name.partition('.')[0]} tile {min(len(done) + 1, total)}/{total}"
    return {"done": len(done), "total": total, "text": text, "seconds_left": None, "written": written}
