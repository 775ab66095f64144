"""What a person sees while many artifacts are made: one live table on a terminal, one line for each event elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pipeline.engine.artifacts import Store, partial_of
from pipeline.engine.graph import Node
from pipeline.engine.schedule.live_table import live_table, running
from pipeline.engine.schedule.scheduler import Outcome
from pipeline.errors import UserError
from pipeline.machine.progress import say, write_log
from pipeline.shown_text import cell_words

if TYPE_CHECKING:
    from rich.console import Group

_EVERY = 0.5
"""Seconds between two pictures of the live table."""
_SHOWN = 3
"""Cells that are named of many that failed for the same reason."""


@dataclass
class Events:
    """Told of every event; says it.

    Attributes
    ----------
    nodes : list of Node
        What is to be made.
    labels : dict
        Labels of cells by key; see :func:`pipeline.engine.schedule.labels.labels_of`.
    store : Store
        Where constructions leave notes on their progress.
    expected : callable
        Seconds that an artifact will take; None where that is unknown.
    workers : int
        How many are made at the same time.
    """

    nodes: list[Node]
    labels: dict[str, dict[str, str]]
    store: Store
    expected: Callable[[Node], float | None] = lambda node: None
    workers: int = 1
    _since: dict[str, float] = field(default_factory=dict, repr=False)
    _ended: dict[str, Outcome] = field(default_factory=dict, repr=False)
    _live: Any = field(default=None, repr=False)
    _drawn: float = field(default=0.0, repr=False)
    _said: set[str] = field(default_factory=set, repr=False)
    _note: str = field(default="", repr=False)
    _start: float = field(default_factory=time.monotonic, repr=False)

    def __post_init__(self) -> None:
        """Look nodes up by their keys."""
        self._by_key = {node.key: node for node in self.nodes}

    def name(self, node: Node) -> str:
        """Stage, address and cell of an artifact."""
        return _name(node, self.labels)

    def _cell(self, node: Node) -> str:
        return _cell(node, self.labels)

    def added(self, outcome: Outcome) -> None:
        """Say that an artifact waits for others, which its making has found out that it needs."""
        node, needs = self._by_key[outcome.key], outcome.needs
        fresh = [one for one in needs if one.key not in self._by_key]
        for one in fresh:
            self._by_key[one.key] = one
            self.labels[one.key] = self.labels.get(node.key, {}) | {"seed": str(one.config.seed), "rows": _rows(one)}
        self.nodes += fresh
        self._since.pop(node.key, None)
        self._line(f"{self.name(node)}: waits for {len(needs)} of {needs[0].stage.name}")

    def begun(self, node: Node, again: bool) -> None:
        """Say that an artifact is begun, or begun again."""
        self._since[node.key] = time.monotonic()
        self._line(f"{self.name(node)}: {'begun again' if again else 'begun'}")

    def prepares(self, what: str) -> None:
        """Say what the command itself does while nobody can be told of anything else; empty when it is done."""
        self._note = what
        if what:
            self._line(what)
        self.draw(now=True)

    def said(self, node: Node, line: str) -> None:
        """Pass on a line that was printed where an artifact is made."""
        self._line(f"  {node.stage.name} ({self._cell(node)}) | {line.strip()}", stamp=False)

    def ended(self, outcome: Outcome) -> None:
        """Say that an artifact is complete, or why it is not."""
        self._ended[outcome.key] = outcome
        self._since.pop(outcome.key, None)
        node = self._by_key[outcome.key]
        place = f"[{len(self._ended)}/{len(self.nodes)}] {self.name(node)}"
        if outcome.error is None:
            self._line(f"{place}: done in {outcome.seconds:.1f} s")
            return
        why = (
            f"failed: {_shortened(_first_line(outcome.error))}" if outcome.tried else "not made, since an input failed"
        )
        if why in self._said:  # what stops a hundred seeds is printed once; the log has every event
            write_log(f"{place}: {why}")
            self.draw()
            return
        self._said.add(why)
        self._line(f"{place}: {why}")

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

    def draw(self, now: bool = False) -> None:
        """Draw the live table, if there is one, and its time has come or nothing else will be drawn for seconds."""
        if self._live is not None and (now or time.monotonic() - self._drawn >= _EVERY):
            self._drawn = time.monotonic()
            self._live.update(self._table(), refresh=True)

    def _line(self, text: str, stamp: bool = True) -> None:
        if self._live is not None:
            write_log(text)  # which has a time stamp of its own
            self.draw()
        else:
            say(text, time.strftime("%H:%M:%S ") if stamp else "")

    def _table(self) -> Group:
        now = time.monotonic()
        rows = []
        for key, since in list(self._since.items()):
            node = self._by_key[key]
            folder = self.store.folder(*node.address)
            rows.append(running(node.stage.name, self._cell(node), folder, now - since, self.expected(node)))
        ended = Counter(_state(one) for one in self._ended.values())
        waiting = len(self.nodes) - len(self._ended) - len(self._since)
        counts = {"done": ended["done"], "running": len(rows), "waiting": waiting}
        counts |= {state: ended[state] for state in ("failed", "not made")}
        return live_table(rows, counts, self._left(), now - self._start, self._note)

    def _left(self) -> float | None:
        """Seconds until all is made, if every worker always had something to do; None where nothing is known."""
        left, known = 0.0, False
        for node in self.nodes:
            if node.key not in self._ended and (whole := self.expected(node)) is not None:
                begun = self._since.get(node.key)
                left += whole if begun is None else max(0.0, whole - (time.monotonic() - begun))
                known = True
        return left / self.workers if known else None


def failure_table(
    nodes: Sequence[Node], ended: Sequence[Outcome], labels: Mapping[str, Mapping[str, str]], store: Store
) -> list[str]:
    """Lines of a table of what failed by itself: what, why, where its log is, and the command that makes it.

    What fails for the same reason is one row, with the log and the command of the first. A gather fails for want of
    these; its error, which is the last word of the command, says so.

    Parameters
    ----------
    nodes : sequence of Node
        What was to be made.
    ended : sequence of Outcome
        How it ended.
    labels : mapping
        Labels of cells by key.
    store : Store
        Where constructions leave their logs.
    """
    by_key = {node.key: node for node in nodes}
    alike: dict[tuple[str, str], list[Node]] = {}
    for outcome in ended:
        node = by_key[outcome.key]
        if outcome.error is not None and outcome.tried and node.stage.gathers is None:
            alike.setdefault((node.stage.name, _first_line(outcome.error)), []).append(node)
    lines: list[str] = []
    for (stage, why), group in alike.items():
        cells = "; ".join(_cell(node, labels) for node in group[:_SHOWN])
        more = f"; and {len(group) - _SHOWN} more" if len(group) > _SHOWN else ""
        what = _name(group[0], labels) if len(group) == 1 else f"{len(group)} of {stage} ({cells}{more})"
        first = "" if len(group) == 1 else " of the first"
        lines.append(f"  {what}: {why}")
        lines.append(f"    log{first}: {partial_of(store.folder(*group[0].address)) / 'logs'}")
        lines.append(f"    again: {group[0].command}")
    stopped = sum(not outcome.tried and by_key[outcome.key].stage.gathers is None for outcome in ended)
    if lines and stopped:
        lines.append(f"  not made, since an input failed: {stopped} artifact{'s' if stopped > 1 else ''}")
    return lines


def _name(node: Node, labels: Mapping[str, Mapping[str, str]]) -> str:
    cell = cell_words(labels.get(node.key, {}))
    return f"{node.stage.name} {node.slug}-{node.key}" + (f" ({cell})" if cell else "")


def _cell(node: Node, labels: Mapping[str, Mapping[str, str]]) -> str:
    return cell_words(labels.get(node.key, {})) or node.slug


def _rows(node: Node) -> str:
    kept, dropped = node.config.data.keep, node.config.data.drop
    if kept is not None:
        return f"on {len(kept)} rows"
    return f"without {len(dropped)} rows" if dropped else "on all rows"


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0] if isinstance(error, UserError) else f"{type(error).__name__}: {lines[0]}"


def _state(outcome: Outcome) -> str:
    return "not made" if not outcome.tried else "done" if outcome.error is None else "failed"


def _shortened(text: str, most: int = 120) -> str:
    return text if len(text) <= most else f"{text[: most - 3]}..."
