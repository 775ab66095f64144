"""What a command is going to make, said before it starts, and what is odd about what exists already."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pipeline.engine.artifacts import Artifact, Store
from pipeline.engine.graph import Node
from pipeline.engine.rebuild import words_of
from pipeline.engine.staleness import staleness
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
    """

    target: Node
    todo: list[Node]
    again: list[Node]
    gone: list[Node]
    kept: list[Node]


def plan(target: Node, store: Store, has: Callable[[Node], bool]) -> Plan:
    """Work out what has to be made.

    Parameters
    ----------
    target : Node
        What is asked for.
    store : Store
        Where artifacts live.
    has : callable
        Whether an artifact exists and need not be rebuilt.
    """
    todo: list[Node] = []
    seen: set[str] = set()

    def walk(node: Node) -> None:
        if node.key in seen:
            return
        seen.add(node.key)
        if not has(node):
            for upstream in node.upstream():
                walk(upstream)
            todo.append(node)

    walk(target)
    making = {node.key for node in todo}
    there = {node.key: store.folder(*node.address).is_dir() for node in every_node(target)}
    rest = [node for node in every_node(target) if node.key not in making]
    return Plan(
        target,
        todo,
        [node for node in todo if there[node.key]],
        [node for node in rest if not there[node.key]],
        [node for node in rest if there[node.key]],
    )


def announce(found: Plan, store: Store) -> None:
    """Say what will be made and how long that took before; what is gone; and what was made by other code."""
    if found.todo:
        say(f"to make: {_count(found.todo)} ({_estimate(found.todo, store)})")
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


def _say_stale(found: Plan, store: Store) -> None:
    reasons: dict[str, list[Node]] = {}
    for node in found.kept:
        if text := staleness(Artifact(store.folder(*node.address))):
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


def _estimate(nodes: list[Node], store: Store) -> str:
    stages = Counter(node.stage.name for node in nodes)
    seconds = {name: _typical_seconds(name, store) for name in stages}
    known = sum(count * (seconds[name] or 0.0) for name, count in stages.items())
    unknown = [name for name, value in seconds.items() if value is None]
    if not known:
        return "no earlier artifact to judge the time by"
    without = f", without {', '.join(unknown)}" if unknown else ""
    return f"about {known:.0f} s judging by earlier artifacts{without}"


def _typical_seconds(stage: str, store: Store) -> float | None:
    folder = store.root / stage
    if not folder.is_dir():
        return None
    recent = sorted((entry for entry in folder.iterdir() if entry.suffix == "" and entry.is_dir()), reverse=True)[:9]
    times = [Artifact(entry).provenance.get("wall_seconds") for entry in recent]
    found = [value for value in times if value is not None]
    return sorted(found)[len(found) // 2] if found else None
