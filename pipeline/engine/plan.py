"""What a command is going to make, said before it starts, and what is odd about what exists already."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from kernels.machine.memory import available_memory, show_bytes
from pipeline.config.run import RunConfig
from pipeline.engine.artifacts import Store, lock_of
from pipeline.engine.graph import Node
from pipeline.engine.inventory.collections_wait import collections_wait
from pipeline.engine.inventory.index import records_of
from pipeline.engine.inventory.listing import Listing
from pipeline.engine.rebuild import words_of
from pipeline.engine.replacement import drop_replaced
from pipeline.engine.schedule.estimates import Estimates
from pipeline.engine.schedule.novelty import reasons
from pipeline.engine.schedule.simulation import simulate
from pipeline.engine.seed_blocks import unwanted_members
from pipeline.engine.staleness import Judge
from pipeline.machine.owner_lock import lock_if_free
from pipeline.machine.progress import say


def every_node(node: Node, seen: set[str] | None = None) -> Iterator[Node]:
    """Walk a node and everything upstream of it, upstream first, each once."""
    seen = set() if seen is None else seen
    if node.key in seen:
        return
    seen.add(node.key)
    for upstream in node.upstream():
        yield from every_node(upstream, seen)
    yield node


def later_of(nodes: Iterable[Node]) -> dict[str, list[tuple[str, RunConfig]]]:
    """Stages that will read what is made, and that can say beforehand what they would refuse: by key of what they read.

    Parameters
    ----------
    nodes : iterable of Node
        What is going to be made.
    """
    later: dict[str, list[tuple[str, RunConfig]]] = {}
    for node in nodes:
        if node.stage.foresees is not None:
            for upstream in every_node(node):
                if upstream is not node:
                    later.setdefault(upstream.key, []).append((node.stage.name, node.config))
    return later


@dataclass(frozen=True)
class Plan:
    """What a target needs.

    Attributes
    ----------
    target : Node
        What is asked for.
    todo : list of Node
        What will be made, upstream first. What only existing artifacts rest on is not made.
    again : list of Node
        Those of them that exist and are rebuilt.
    gone : list of Node
        Absent artifacts that existing ones rest on, and that nothing to be made needs.
    kept : list of Node
        Existing artifacts that are used as they are.
    listing : Listing
        What the store held then.
    """

    target: Node
    todo: list[Node]
    again: list[Node]
    gone: list[Node]
    kept: list[Node]
    listing: Listing


@collections_wait()
def plan(target: Node, store: Store, keeps: Callable[[Node], bool], listing: Listing | None = None) -> Plan:
    """Work out what has to be made.

    Parameters
    ----------
    target : Node
        What is asked for.
    store : Store
        Where artifacts live.
    keeps : callable
        Whether an artifact that exists need not be rebuilt.
    listing : Listing, optional
        What the store holds, where it has just been looked at.
    """
    todo: list[Node] = []
    seen: set[str] = set()
    nodes, listing = list(every_node(target)), listing or Listing(store.root)
    there = {node.key: listing.place(*node.address).entry is not None for node in nodes}

    def walk(node: Node) -> None:
        if node.key in seen:
            return
        seen.add(node.key)
        if not (there[node.key] and keeps(node)):
            for upstream in node.upstream():
                walk(upstream)
            todo.append(node)

    walk(target)
    making = {node.key for node in todo}
    rest = [node for node in nodes if node.key not in making]
    return Plan(
        target,
        todo,
        [node for node in todo if there[node.key]],
        [node for node in rest if not there[node.key]],
        [node for node in rest if there[node.key]],
        listing,
    )


def clear_after_kills(found: Plan) -> None:
    """Delete what a kill between two last steps left beside finished artifacts: an old folder, a lock of nobody."""
    for node in found.kept:
        place = found.listing.place(*node.address)
        if ".replaced" in place.beside:
            drop_replaced(place.folder)
        if ".lock" in place.beside:
            with lock_if_free(lock_of(place.folder)):
                pass  # its release deletes the file


@collections_wait()
def announce(found: Plan, store: Store, estimates: Estimates, workers: int = 1) -> None:
    """Say what will be made, why, and how long that may take; what is gone; and what was made by other code."""
    if found.todo:
        say(f"to make: {_count(found.todo)} ({_expected(found.todo, estimates, workers)})")
        if full := _too_full(found.todo, store, estimates):
            say(full)
        for line in _unwanted(found):
            say(line)
        if found.kept:
            say(f"there already: {_count(found.kept)}")
        again = {node.key for node in found.again}
        for reason in reasons([node for node in found.todo if node.key not in again], store):
            say(f"new: {reason}")
    elif not found.gone:
        say(f"{found.target.stage.name}: everything exists already")
    else:
        say(f"{found.target.stage.name}: exists already")
    if found.again:
        say(f"rebuilt: {_count(found.again)}; the old ones stay until the new ones are complete")
    if found.gone:
        what = f"{_count(found.gone)} on which existing artifacts rest {'is' if len(found.gone) == 1 else 'are'} gone"
        say(f"{what}: {_some(found.gone)}. To make it again: {found.gone[0].command}")
    _say_stale(found, store)


def _unwanted(found: Plan) -> Iterator[str]:
    """Yield a line for every block of seeds that will be trained although some of them are not wanted."""
    wanted: dict[str, set[int]] = {}
    for node in every_node(found.target):
        for upstream in node.upstream():
            if upstream.stage.name == "ensemble":
                wanted.setdefault(upstream.key, set()).add(node.config.seed)
    for node in found.todo:
        seeds = sorted(wanted.get(node.key, ()))
        if seeds and (line := unwanted_members(node.config, seeds)):
            yield f"ensemble {node.slug}-{node.key}: {line}"


def _say_stale(found: Plan, store: Store) -> None:
    reasons: dict[str, list[Node]] = {}
    places = {node.key: found.listing.place(*node.address) for node in found.kept}
    entries = [(node.stage.name, entry) for node in found.kept if (entry := places[node.key].entry) is not None]
    records = records_of(store.root, entries)
    judge = Judge(store, {record.address: record.payload or None for record in records.values()})
    for node in found.kept:
        record = records.get((node.stage.name, places[node.key].name))
        if record is not None and (text := judge.differences(record.stage, record.provenance)):
            reasons.setdefault(text, []).append(node)
    for text, nodes in reasons.items():
        say(f"{text} ({_some(nodes)})")
    if reasons:
        stale = [node for nodes in reasons.values() for node in nodes]
        say(f"they are used as they are. To rebuild them: {found.target.command} {words_of(stale)}")


def _count(nodes: list[Node]) -> str:
    return ", ".join(f"{count} {name}" for name, count in Counter(node.stage.name for node in nodes).items())


def _some(nodes: list[Node]) -> str:
    names = [f"{node.stage.name} {node.slug}-{node.key}" for node in nodes[:3]]
    return ", ".join(names) + (f" and {len(nodes) - 3} more" if len(nodes) > 3 else "")


def _expected(nodes: list[Node], estimates: Estimates, workers: int) -> str:
    """Give the time, memory and disk that some workers will need, and how far off earlier estimates were."""
    by_stage = {node.stage.name: estimates.of(node).seconds for node in nodes}
    unknown = [name for name, seconds in by_stage.items() if seconds is None]
    if len(unknown) == len(by_stage):
        return "no earlier artifact to judge the time by"
    course = simulate(nodes, estimates, workers, available_memory())
    words = f"about {duration(course.seconds)}" + (f" on {workers} workers" if workers > 1 else "")
    words += f", up to {show_bytes(course.memory)} of memory"
    if disk := sum(estimates.of(node).disk for node in nodes):
        words += f", {show_bytes(disk)} of disk"
    without = f", without {', '.join(unknown)}" if unknown else ""
    words += f"; judging by {estimates.judged_by} earlier artifacts{without}"
    error = _error(estimates)
    return f"{words}; {error}" if error else words


def _error(estimates: Estimates) -> str:
    """Say how far off estimates of this store were."""
    found = estimates.error()
    if found is None:
        return ""
    if found.kept:
        return f"{found.count} earlier estimates of this store were off by a factor of {found.factor:.2g} in the median"
    return f"estimated from one another, {found.count} of them are off by a factor of {found.factor:.2g} in the median"


def _too_full(nodes: list[Node], store: Store, estimates: Estimates) -> str | None:
    """Say that the disk of the store is likely too small."""
    place = next((folder for folder in (store.root, *store.root.absolute().parents) if folder.is_dir()), None)
    needed = sum(estimates.of(node).disk for node in nodes)
    if place is None or needed <= (free := shutil.disk_usage(place).free):
        return None
    return f"the disk of {store.root} has {show_bytes(free)} free, and about {show_bytes(needed)} are needed"


def duration(seconds: float) -> str:
    """Write a time for a person: ``42 s``, ``3 min 20 s``, ``2 h 5 min``.

    Examples
    --------
    >>> duration(42.3), duration(200), duration(7500)
    ('42 s', '3 min 20 s', '2 h 5 min')
    """
    whole = round(seconds)
    if whole < 120:
        return f"{whole} s"
    if whole < 7200:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
