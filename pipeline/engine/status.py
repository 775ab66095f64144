"""``stage=status``: what of an experiment is done, running, failed or missing, and how to make the rest."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.config.run import RunConfig
from pipeline.engine.artifacts import SCRATCH, Store, lock_of, partial_of
from pipeline.engine.attempt import other_code
from pipeline.engine.graph import Graph, Node
from pipeline.engine.inventory.collections_wait import collections_wait
from pipeline.engine.inventory.index import records_of
from pipeline.engine.inventory.listing import Listing, Place
from pipeline.engine.inventory.record import Record
from pipeline.engine.plan import every_node
from pipeline.engine.planned import planned_lines
from pipeline.engine.rebuild import words_of
from pipeline.engine.schedule.estimates import Estimates
from pipeline.engine.schedule.labels import labels_of
from pipeline.engine.schedule.live_table import Running, live_table, running
from pipeline.engine.schedule.simulation import simulate
from pipeline.engine.schedule.slurm.submission import in_queue
from pipeline.engine.stages import STAGES
from pipeline.engine.staleness import Judge
from pipeline.machine.owner_lock import current_owner
from pipeline.machine.payload_files import MANIFEST
from pipeline.machine.progress import read_progress
from pipeline.shown_text import cell_words, shown, typed, visible

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

_COLORS = {"done": "green", "running": "cyan", "queued": "blue", "failed": "red", "partial": "yellow", "missing": "dim"}
_LIVE_ROWS = 30
_MOST_BOXED = 1000
"""Rows of a table with lines and colors; to draw one takes a millisecond, to write one as plain text a hundredth."""
_WIDTH = 240
"""Of a table that goes to a file or a pipe."""
_LEAST_WIDTH, _LEAST_COLUMN = 72, 16
_WIDE = 140
"""Least width at which the cell has a column of its own."""
_FRAME, _PER_COLUMN = 13, 3
"""Characters of a row's lines and margins, and of one more column's."""


@dataclass(frozen=True)
class NodeState:
    """State of one artifact."""

    node: Node
    state: str
    note: str
    stale: bool = False
    cell: str = ""


def nodes_of(target: Node) -> list[Node]:
    """Every artifact that the experiment's report (or single run) rests on, upstream first."""
    order = {name: i for i, name in enumerate(STAGES)}
    return sorted(every_node(target), key=lambda item: (order[item.stage.name], item.slug))


@collections_wait()
def rows_of(
    nodes: Sequence[Node], store: Store, labels: Mapping[str, Mapping[str, str]] | None = None
) -> list[NodeState]:
    """Look up the state of every artifact; each folder of the store is listed once."""
    listing = Listing(store.root)
    places = [listing.place(*node.address) for node in nodes]
    done = [(node.stage.name, place.entry) for node, place in zip(nodes, places, strict=True) if place.entry]
    records = records_of(store.root, done)
    judge = Judge(store, {record.address: record.payload or None for record in records.values()})
    rows = []
    jobs = in_queue(store)
    for node, place in zip(nodes, places, strict=True):
        cell = cell_words((labels or {}).get(node.key, {}))
        record = records.get((node.stage.name, place.folder.name))
        if record is None:  # it is not complete, or has just gone
            state = store.state(place.folder) if place.beside or place.entry else "missing"
            if node.key in jobs and state not in ("done", "running"):
                rows.append(NodeState(node, "queued", str(jobs[node.key]), cell=cell))
                continue
            rows.append(NodeState(node, state, _note(store, node, state, place.folder), cell=cell))
            continue
        note = _note_of_finished(store, place, record)
        stale = judge.differences(record.stage, record.provenance)
        rows.append(NodeState(node, "done", "; ".join(filter(None, [note, stale])), bool(stale), cell))
    return rows


def _note_of_finished(store: Store, place: Place, record: Record) -> str:
    if ".lock" in place.beside and (owner := current_owner(lock_of(place.folder))) is not None:
        return f"being rebuilt, {_place(owner)}"
    if record.problem and not (place.folder / MANIFEST).is_file():
        return "its manifest is missing; stage=verify says how to make it again"
    if record.problem:
        return "damaged; stage=verify says how to make it again"
    if ".partial" not in place.beside:
        return ""
    failure = store.failure(place.folder)
    return "its rebuild was interrupted" if failure is None else f"its rebuild failed: {_last_line(failure)}"


def _last_line(failure: dict[str, str]) -> str:
    return (failure["error"].strip().splitlines() or [""])[-1]


def _note(store: Store, node: Node, state: str, folder: Path) -> str:
    failure = store.failure(folder) if state == "failed" else None
    if failure is not None:
        return _last_line(failure)
    if state == "missing":
        return node.command
    progress = read_progress(partial_of(folder) / SCRATCH)
    if state == "running":
        return ", ".join(filter(None, [_pace(progress), _place(current_owner(lock_of(folder)) or {})]))
    stopped = f"stopped in {progress['text']}" if progress else ""
    begun = "; ".join(filter(None, [stopped, other_code(folder)]))
    return f"{begun}; continue: {node.command}" if begun else node.command


def _pace(progress: dict[str, Any] | None) -> str:
    if progress is None:
        return ""
    left = progress["seconds_left"]
    if left is None:
        return str(progress["text"])
    return f"{progress['text']}, about {max(0.0, left - (time.time() - progress['written'])):.0f} s left"


def _place(owner: dict[str, Any]) -> str:
    if not owner:
        return ""
    host = owner.get("host", "unknown host")
    return f"{host} job {owner['job']}" if owner.get("job") else f"{host} process {owner.get('pid')}"


def show_status(graph: Graph, store: Store, config: RunConfig) -> None:
    """Print the table, a count per state, and the traceback of each failure; with ``watch``, live."""
    from rich.console import Console
    from rich.text import Text

    asked = Console()
    chosen = asked.width if os.environ.get("COLUMNS", "").strip("0").isdigit() or os.isatty(1) else _WIDTH
    console = Console(width=max(chosen, _LEAST_WIDTH), soft_wrap=False)
    target = graph.resolve("report" if config.wants else "train", config)
    nodes, labels = nodes_of(target), labels_of(target)
    title = Text(visible(f"{config.experiment_name} in {store.root}"))
    if config.watch is not None:
        watched = Watched(store, Estimates(store), config.watch)
        rows = _watch(console, title, lambda: rows_of(nodes, store, labels), watched)
    else:
        rows = rows_of(nodes, store, labels)
    if config.watch is None and len(rows) > _MOST_BOXED:
        print(title.plain, *_lines(rows), sep="\n", flush=True)
    elif config.watch is None:
        long = _too_long(rows, console.width)
        console.print(_table(title, rows, long, cells=_shows_cells(rows, console.width)))
        for place, row in enumerate(long, 1):  # a command is copied, so that no line break may stand in it
            console.print(Text(typed(f"({place}) {shown(row.note)}")), soft_wrap=True)
    console.print(_counts(rows))
    if config.scale == "published":
        for line in planned_lines(config, [(row.node.stage.name, row.state) for row in rows]):
            console.print(Text(typed(visible(line))), soft_wrap=True)
    old = [row.node for row in rows if row.stale]
    if old:
        again = f"To rebuild what was made by other code or from other inputs: {target.command} {words_of(old)}"
        console.print(Text(typed(again)), soft_wrap=True)
    for row in rows:
        if row.state == "failed":
            failure = store.failure(store.folder(*row.node.address))
            if failure is None:  # another process took the folder over meanwhile
                continue
            console.print(Text(visible(f"\n{row.node.stage.name} {row.node.slug}-{row.node.key}"), style="red"))
            console.print(Text(shown(failure["traceback"])), soft_wrap=True)
            console.print(Text(typed(shown(f"again: {failure['command']}"))), soft_wrap=True)


def _lines(rows: Sequence[NodeState]) -> Iterator[str]:
    """Write a row a line, in columns."""
    cells = any(row.cell for row in rows)
    table: list[tuple[str, ...]] = [("stage", "artifact", *(["cell"] if cells else []), "state", "note or command")]
    for row in rows:
        about = (row.node.stage.name, f"{row.node.slug}-{row.node.key}", *([row.cell] if cells else []), row.state)
        table.append((*map(visible, about), typed(shown(row.note)) if row.note else ""))
    widths = [max(map(len, column)) for column in list(zip(*table, strict=True))[:-1]]
    for line in table:
        words = [word.ljust(width) for word, width in zip(line[:-1], widths, strict=True)]
        yield "  ".join([*words, line[-1]]).rstrip()


def _counts(rows: Sequence[NodeState]) -> str:
    counts = Counter(row.state for row in rows)
    return ", ".join(f"{counts[state]} {state}" for state in _COLORS if counts[state])


def _too_long(rows: Sequence[NodeState], width: int) -> list[NodeState]:
    """Rows whose note holds a command that would be broken in a table of this width."""
    from rich.cells import cell_len

    names = max((cell_len(visible(f"{row.node.slug}-{row.node.key}")) for row in rows), default=0)
    others = max((len(row.node.stage.name) for row in rows), default=0) + max(map(len, _COLORS)) + names + _FRAME
    if _shows_cells(rows, width):
        others += max(cell_len(visible(row.cell)) for row in rows) + _PER_COLUMN
    room = max(width - others, _LEAST_COLUMN)
    return [row for row in rows if row.node.command in row.note and cell_len(typed(shown(row.note))) > room]


def _shows_cells(rows: Sequence[NodeState], width: int) -> bool:
    """Whether there is room for a column that says what distinguishes each artifact."""
    return width >= _WIDE and any(row.cell for row in rows)


def _table(title: Text | str, rows: Sequence[NodeState], long: Sequence[NodeState] = (), *, cells: bool) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left")
    places = {id(row): place for place, row in enumerate(long, 1)}
    table.add_column("stage", no_wrap=True)
    table.add_column("artifact", overflow="fold", min_width=_LEAST_COLUMN)
    if cells:
        table.add_column("cell", overflow="fold")
    table.add_column("state", no_wrap=True)
    table.add_column("note or command", overflow="fold", min_width=_LEAST_COLUMN)
    for row in rows:
        state = Text(row.state, style=_COLORS[row.state])
        artifact = Text(visible(f"{row.node.slug}-{row.node.key}"))
        note = f"({places[id(row)]}) below" if id(row) in places else typed(shown(row.note))
        cell = [Text(visible(row.cell))] if cells else []
        table.add_row(row.node.stage.name, artifact, *cell, state, Text(note))
    return table


def _watch(console: Any, title: Text, look: Callable[[], list[NodeState]], watched: Watched) -> list[NodeState]:
    """Show a live table until everything is done or failed, or the user interrupts."""
    from rich.live import Live

    rows = look()
    with Live(_overview(title, rows, watched), console=console, auto_refresh=False) as live:
        try:
            while any(row.state in ("running", "queued", "missing", "partial") for row in rows):
                time.sleep(watched.seconds)
                rows = look()
                live.update(_overview(title, rows, watched), refresh=True)
        except KeyboardInterrupt:
            pass
    return rows


@dataclass(frozen=True)
class Watched:
    """What a live table is drawn from, besides the states of the artifacts.

    Attributes
    ----------
    store : Store
        Where they lie.
    estimates : Estimates
        Of what is left.
    seconds : float
        Between two looks.
    """

    store: Store
    estimates: Estimates
    seconds: float


def _overview(title: Text, rows: Sequence[NodeState], watched: Watched) -> Group:
    """Draw counts per stage, then only what moves or failed: a sweep of a thousand seeds must fit on a screen."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    totals = Table(title=title, title_justify="left")
    totals.add_column("stage")
    for state, color in _COLORS.items():
        totals.add_column(state, justify="right", style=color)
    for stage in dict.fromkeys(row.node.stage.name for row in rows):
        counts = Counter(row.state for row in rows if row.node.stage.name == stage)
        totals.add_row(stage, *(str(counts[state] or "") for state in _COLORS))
    parts: list[Any] = [totals]
    failed = [row for row in rows if row.state == "failed"]
    if failed:
        parts.append(_table(f"failed ({len(failed)})", failed[:_LIVE_ROWS], cells=any(row.cell for row in failed)))
    moving = [row for row in rows if row.state == "running"]
    counts = Counter(row.state for row in rows)
    waiting = {"done": counts["done"], "running": len(moving), "waiting": counts["missing"] + counts["partial"]}
    working = [_running(row, watched) for row in moving]
    waiting |= {"queued": counts["queued"], "failed": counts["failed"]}
    parts.append(live_table(working, waiting, _left(rows, watched), None))
    if not moving and not counts["queued"] and waiting["waiting"]:
        parts.append(Text("nothing is being made now; the same command without stage=status makes the rest"))
    return Group(*parts)


def _running(row: NodeState, watched: Watched) -> Running:
    node, folder = row.node, watched.store.folder(*row.node.address)
    owner = current_owner(lock_of(folder)) or {}
    started = owner.get("started")
    since = max(0.0, time.time() - started) if isinstance(started, (int, float)) else 0.0
    expected = watched.estimates.of(node).seconds
    return running(node.stage.name, row.cell or node.slug, folder, since, expected, _place(owner))


def _left(rows: Sequence[NodeState], watched: Watched) -> float | None:
    """Seconds until all is made by as many as are at work now; None where nothing is known, or nobody works."""
    moving = [row for row in rows if row.state == "running"]
    waiting = [row.node for row in rows if row.state in ("missing", "partial", "queued")]
    known = [row.node for row in rows if watched.estimates.of(row.node).measured]
    if not moving or not known:
        return None
    begun = sum(_running(row, watched).left or 0.0 for row in moving) / len(moving)
    return begun + simulate(waiting, watched.estimates, len(moving)).seconds
