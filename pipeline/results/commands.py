"""``stage=results`` and ``stage=list``: every number, and every artifact, of a store or of a study."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.config.run import RunConfig
from pipeline.engine.artifacts import Store
from pipeline.engine.graph import Graph, Node
from pipeline.engine.inventory.collections_wait import collections_wait
from pipeline.machine.progress import say
from pipeline.results.chosen import Chosen, choose
from pipeline.results.files import kind_of, put
from pipeline.results.table import describe, free, made_at, tidy

if TYPE_CHECKING:
    import pyarrow as pa


def show_results(graph: Graph, store: Store, config: RunConfig) -> None:
    """Show or write the tidy table of :func:`pipeline.results.read_results`.

    Parameters
    ----------
    graph : Graph
        Resolves the study, if the command names one.
    store : Store
        Where the artifacts lie.
    config : RunConfig
        ``select`` and ``out`` are read.
    """
    chosen = _chosen(graph, store, config)
    if chosen.records:
        put(tidy(chosen), config.out)


def show_list(graph: Graph, store: Store, config: RunConfig) -> None:
    """Show or write one row for each artifact: what it is, when it was made, how large it is, by which command.

    Parameters
    ----------
    graph : Graph
        Resolves the study, if the command names one.
    store : Store
        Where the artifacts lie.
    config : RunConfig
        ``select`` and ``out`` are read.
    """
    chosen = _chosen(graph, store, config)
    if not chosen.records:
        return
    put(made(chosen), config.out)
    size = sum(record.size for record in chosen.records)
    say(f"{len(chosen.records)} artifacts, {size / 1e6:.1f} MB together")


@collections_wait()
def made(chosen: Chosen) -> pa.Table:
    """Give the table of ``stage=list``, the oldest first."""
    import pyarrow as pa

    described = describe(chosen)
    records = sorted(chosen.records, key=lambda one: one.made)
    axes = dict.fromkeys(axis for one in records for axis in free(chosen.labels.get(one.key, {})))
    columns = {
        "made": pa.array([made_at(one) for one in records], pa.timestamp("s", "UTC")),
        "stage": [one.stage for one in records],
        **{axis: pa.array([described[one.address].get(axis) for one in records], pa.string()) for axis in axes},
        "artifact": [one.name for one in records],
        "MB": [round(one.size / 1e6, 3) for one in records],
        "seconds": pa.array([_seconds(one.provenance.get("wall_seconds")) for one in records], pa.float64()),
        "command": [one.command for one in records],
    }
    return pa.table(columns)


def _seconds(value: object) -> float | None:
    return round(float(value), 1) if isinstance(value, (int, float)) else None


def _chosen(graph: Graph, store: Store, config: RunConfig) -> Chosen:
    if config.out is not None:
        kind_of(config.out)  # before anything is read
    chosen = choose(store, study_of(graph, config), config.select)
    if not chosen.records:
        what = "of this study " if config.wants else ""
        fits = " that select takes" if chosen.known else ""
        say(f"{store.root} holds no finished artifact {what}".rstrip() + fits + ".")
    return chosen


def study_of(graph: Graph, config: RunConfig) -> Node | None:
    """Give the report of the study that a command names; None where it names none, so that the whole store is meant."""
    return graph.resolve("report", config) if config.wants else None
