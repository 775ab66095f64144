"""What distinguishes an artifact within its experiment: the labels of the cells that it serves."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.engine.graph import Node


def labels_of(target: Node) -> dict[str, dict[str, str]]:
    """Give the labels that all cells of each artifact share, by key.

    A network that serves the cells (model mlp, kernel pntk, seed 0) and (model mlp, kernel conjugate, seed 0) has the
    labels model mlp and seed 0.

    Parameters
    ----------
    target : Node
        A gather, or anything upstream of it, which then has no labels.
    """
    found: dict[str, dict[str, str]] = {}

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


def in_words(labels: Mapping[str, str]) -> str:
    """Write labels as ``model mlp, seed 0``.

    Examples
    --------
    >>> in_words({"model": "mlp", "seed": "0"})
    'model mlp, seed 0'
    """
    return ", ".join(f"{axis} {label}" for axis, label in labels.items())
