"""What a person sees while many artifacts are made: one live table on a terminal, one line for each event elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pipeline.engine.artifacts import SCRATCH, Store, partial_of
from pipeline.engine.graph import Node
from pipeline.engine.schedule.labels import in_words
from pipeline.engine.schedule.scheduler import Outcome
from pipeline.errors import UserError
from pipeline.machine.progress import read_progress, say, write_log
from pipeline.shown_text import shown, visible

if TYPE_CHECKING:
    from rich.console import Group

_EVERY = 0.5
"""Seconds between two pictures of the live table."""


@dataclass
class Events:
    """Told of every event; says it.

    Attributes
    ----------
    nodes : sequence of Node
        What is to be made.
    labels : mapping
        Labels of cells by key; see :func:`pipeline.engine.schedule.labels.labels_of`.
    store : Store
        Where constructions leave notes on their progress.
    expected : callable
        Seconds that an artifact will take; None where that is unknown.
    workers : int
        How many are made at the same time.
    """

    nodes: Sequence[Node]
    labels: Mapping[str, Mapping[str, str]]
    store: Store
    expected: Callable[[Node], float | None] = lambda node: None
    workers: int = 1
    _since: dict[str, float] = field(default_factory=dict, repr=False)
    _ended: dict[str, Outcome] = field(default_factory=dict, repr=False)
    _live: Any = field(default=None, repr=False)
    _drawn: float = field(default=0.0, repr=False)
    _start: float = field(default_factory=time.monotonic, repr=False)

    def __post_init__(self) -> None:
        """Look nodes up by their keys."""
        self._by_key = {node.key: node for node in self.nodes}

    def name(self, node: Node) -> str:
        """Stage, address and cell of an artifact."""
        cell = in_words(self.labels.get(node.key, {}))
        return f"{node.stage.name} {node.slug}-{node.key}" + (f" ({cell})" if cell else "")

    def _cell(self, node: Node) -> str:
        return in_words(self.labels.get(node.key, {})) or node.slug

    def begun(self, node: Node, again: bool) -> None:
        """Say that an artifact is begun, or begun again."""
        self._since[node.key] = time.monotonic()
        self._line(f"{self.name(node)}: {'begun again' if again else 'begun'}")

    def said(self, node: Node, line: str) -> None:
        """Pass on a line that was printed where an artifact is made."""
        self._line(f"  {node.stage.name} ({self._cell(node)}) | {line.strip()}", stamp=False)

    def ended(self, outcome: Outcome) -> None:
        """Say that an artifact is complete, or why it is not."""
        self._ended[outcome.key] = outcome
        self._since.pop(outcome.key, None)
        node = self._by_key[outcome.key]
        place = f"[{len(self._ended)}/{len(self.nodes)}] {self.name(node)}"
        if not outcome.tried:
            self._line(f"{place}: not made, since an input failed")
        elif outcome.error is None:
            self._line(f"{place}: done in {outcome.seconds:.1f} s")
        else:
            self._line(f"{place}: failed: {_shortened(_first_line(outcome.error))}")

    @contextlib.contextmanager
    def shown_live(self) -> Iterator[None]:
        """Keep the live table on a terminal for the length of a ``with`` block."""
        if not sys.stderr.isatty():
            yield
            return
        from rich.console import Console
        from rich.live import Live

        with Live(console=Console(stderr=True), auto_refresh=False, transient=True) as self._live:
            try:
                self.draw()
                yield
            finally:
                self._live = None

    def draw(self) -> None:
        """Draw the live table, if there is one and its time has come."""
        if self._live is not None and time.monotonic() - self._drawn >= _EVERY:
            self._drawn = time.monotonic()
            self._live.update(self._table(), refresh=True)

    def _line(self, text: str, stamp: bool = True) -> None:
        if self._live is not None:
            write_log(text)  # which has a time stamp of its own
            self.draw()
        else:
            say(text, time.strftime("%H:%M:%S ") if stamp else "")

    def _table(self) -> Group:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        table = Table(title_justify="left")
        for heading in ("stage", "cell", "progress", "left"):
            table.add_column(heading, no_wrap=heading != "cell", overflow="fold")
        for key, since in list(self._since.items()):
            node = self._by_key[key]
            note = read_progress(partial_of(self.store.folder(*node.address)) / SCRATCH)
            text = str(note["text"]) if note else f"{time.monotonic() - since:.0f} s"
            left = note["seconds_left"] if note else None
            cell, rest = Text(visible(self._cell(node))), "" if left is None else f"{left:.0f} s"
            table.add_row(node.stage.name, cell, Text(shown(text)), rest)
        counts = Counter(_state(one) for one in self._ended.values())
        waiting = len(self.nodes) - len(self._ended) - len(self._since)
        words = [f"{counts['done']} done", f"{len(self._since)} running", f"{waiting} waiting"]
        words += [f"{counts[state]} {state}" for state in ("failed", "not made") if counts[state]]
        text = ", ".join(words) + f"; {_clock(time.monotonic() - self._start)} so far"
        left = self._left()
        return Group(table, Text(text + (f", about {_clock(left)} left" if left is not None else "")))

    def _left(self) -> float | None:
        """Seconds until all is made, if every worker always had something to do; None where a time is unknown."""
        seconds = 0.0
        for node in self.nodes:
            if node.key not in self._ended:
                whole = self.expected(node)
                if whole is None:
                    return None
                begun = self._since.get(node.key)
                seconds += whole if begun is None else max(0.0, whole - (time.monotonic() - begun))
        return seconds / self.workers

    def failures(self) -> list[str]:
        """Table of what failed by itself: what, why, where its log is, and the command that makes it.

        A gather fails for want of these; its error, which is the last word of the command, says so.
        """
        lines: list[str] = []
        for outcome in self._ended.values():
            node = self._by_key[outcome.key]
            if outcome.error is None or not outcome.tried or node.stage.gathers is not None:
                continue
            log = partial_of(self.store.folder(*node.address)) / "logs"
            lines.append(f"  {self.name(node)}: {_first_line(outcome.error)}")
            lines.append(f"    log: {log}")
            lines.append(f"    again: {node.command}")
        return lines


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0] if isinstance(error, UserError) else f"{type(error).__name__}: {lines[0]}"


def _state(outcome: Outcome) -> str:
    return "not made" if not outcome.tried else "done" if outcome.error is None else "failed"


def _shortened(text: str, most: int = 120) -> str:
    return text if len(text) <= most else f"{text[: most - 3]}..."


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
