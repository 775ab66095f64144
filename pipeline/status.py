"""``stage=status``: what of an experiment is done, running, failed or missing, and how to make the rest."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.artifacts import Artifact, Store
from pipeline.graph import Graph, Node
from pipeline.provenance import code_state
from pipeline.pull import every_node
from pipeline.schema import RunConfig
from pipeline.stages import STAGES

_COLOURS = {"done": "green", "running": "cyan", "failed": "red", "partial": "yellow", "missing": "dim"}


@dataclass(frozen=True)
class Row:
    """State of one artefact."""

    node: Node
    state: str
    note: str


def rows_of(graph: Graph, store: Store, config: RunConfig) -> Iterator[Row]:
    """State of every artefact that the experiment's report (or single run) rests on, upstream first."""
    target = graph.resolve("report" if config.wants else "train", config)
    order = {name: i for i, name in enumerate(STAGES)}
    for node in sorted(every_node(target), key=lambda item: (order[item.stage.name], item.slug)):
        folder = store.folder(node.stage.name, node.slug, node.key)
        state = store.state(folder)
        yield Row(node, state, _note(store, node, state))


def _note(store: Store, node: Node, state: str) -> str:
    folder = store.folder(node.stage.name, node.slug, node.key)
    if state == "failed":
        return store.failure(folder)["error"].strip().splitlines()[-1]
    if state == "done":
        made_at, here = Artifact(folder).provenance.get("commit"), code_state()["commit"]
        if made_at and here and made_at != here:
            return f"made at commit {made_at[:7]}, same stage VERSION"
        return ""
    return node.command if state in ("missing", "partial") else ""


def show_status(graph: Graph, store: Store, config: RunConfig) -> None:
    """Print the table, a count per state, and the traceback of each failure."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(width=None if "COLUMNS" in os.environ or os.isatty(1) else 160, soft_wrap=False)
    table = Table(title=f"{config.experiment_name} in {store.root}", title_justify="left")
    for column in ("stage", "artefact", "state"):
        table.add_column(column, no_wrap=True)
    table.add_column("note or command", overflow="fold")
    rows = list(rows_of(graph, store, config))
    for row in rows:
        table.add_row(
            row.node.stage.name,
            f"{row.node.slug}-{row.node.key}",
            Text(row.state, style=_COLOURS[row.state]),
            Text(row.note),
        )
    console.print(table)
    counts = {state: sum(row.state == state for row in rows) for state in _COLOURS}
    console.print(", ".join(f"{count} {state}" for state, count in counts.items() if count))
    for row in rows:
        if row.state == "failed":
            failure = store.failure(store.folder(row.node.stage.name, row.node.slug, row.node.key))
            console.print(f"\n[red]{row.node.stage.name} {row.node.slug}-{row.node.key}[/red]")
            console.print(Text(failure["traceback"]))
            console.print(Text(f"again: {failure['command']}"))
