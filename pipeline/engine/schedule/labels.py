"""What distinguishes an artifact within its experiment: the labels of the cells that it serves."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from pipeline.engine.cells import axis_entries
from pipeline.engine.graph import Node


def labels_of(target: Node) -> dict[str, dict[str, str]]:
    """Give the labels that all cells of each artifact share, by key.

    A network that serves the cells (model mlp, kernel pntk, seed 0) and (model mlp, kernel conjugate, seed 0) has the
    labels model mlp and seed 0.

    Parameters
    ----------
    target : Node
        A gather; or one artifact, whose cell, and that of everything upstream of it, follows from its overrides.
    """
    found: dict[str, dict[str, str]] = {}
    if target.stage.gathers is None:
        return {node.key: cell_of(node) for node in _upstream(target, set())}

    def note(node: Node, labels: Mapping[str, str]) -> None:
        known = found.get(node.key)
        shared = (
            dict(labels) if known is None else {axis: known[axis] for axis in known if labels.get(axis) == known[axis]}
        )
        if shared == known:
            return
        found[node.key] = shared
        for upstream in node.inputs.values():
            note(upstream, labels)

    def walk(node: Node) -> None:
        for group in node.members.values():
            for member in group:
                if member.node.members:
                    walk(member.node)
                else:
                    note(member.node, member.labels)

    walk(target)
    return found


def cell_of(node: Node) -> dict[str, str]:
    """Give the labels of the cell whose overrides a single run has typed, on axes that its address depends on."""
    if not node.config.cells or node.stage.gathers is not None:
        return {}
    typed = set(node.overrides)
    settings = {path for one in _upstream(node, set()) for path in one.sections}
    tops = {re.split(r"[.\[]", path, maxsplit=1)[0] for path in settings} | {"seed" for p in settings if "seeds." in p}
    found = {}
    for axis, value in node.config.cells.items():
        fitting = [(len(words), label) for label, words in axis_entries(axis, value) if typed.issuperset(words)]
        if not fitting:
            continue
        label = max(fitting)[1]
        words = dict(axis_entries(axis, value))[label]
        if any(re.split(r"[.=@]", word.lstrip("+~"), maxsplit=1)[0] in tops for word in words):
            found[axis] = label
    return found


def _upstream(node: Node, seen: set[str]) -> Iterator[Node]:
    if node.key not in seen:
        seen.add(node.key)
        yield node
        for upstream in node.upstream():
            yield from _upstream(upstream, seen)
