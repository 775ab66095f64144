"""Progress for people: a live line on a terminal, plain lines in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")
_PLAIN_SECONDS = 10.0


def say(message: str) -> None:
    """Print one line to the error stream at once, leaving the standard output to results."""
    print(message, file=sys.stderr, flush=True)


def track(items: Iterable[Item], label: str, total: int) -> Iterator[Item]:
    """Iterate and show how far it is and how long it may take.

    Parameters
    ----------
    items : iterable
        What to go through.
    label : str
        What is being done.
    total : int
        Number of items.
    """
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import Progress

        with Progress(console=Console(stderr=True), transient=True) as progress:
            yield from progress.track(items, total=total, description=label)
        return
    started = said = time.monotonic()
    for count, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if now - said >= _PLAIN_SECONDS and count < total:
            left = (now - started) / count * (total - count)
            say(f"  {label}: {count}/{total}, about {left:.0f} s left")
            said = now
