"""From artifacts to job arrays: which share a job, which jobs an array, and which arrays wait for which.

An artifact is one wave later than the latest of its inputs. Each wave has an array for every stage and class of
resources, cut where it is longer than the cluster allows. Arrays wait for the ends of those that hold their inputs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.engine.graph import Node

IMPORTS = 10.0
"""Seconds that a job pays for imports."""
MOST_ARRAYS = 12
"""Arrays of one wave; more artifacts share a job where there would be more."""

Resources = Mapping[str, Any]


@dataclass(frozen=True)
class Array:
    """One job array.

    Attributes
    ----------
    wave : int
        From 1.
    stage : str
        Of its artifacts.
    resources : mapping
        Of each job, by fields of ``hydra.launcher``.
    members : tuple of tuple of str
        Keys of the artifacts of each job.
    after : tuple of int
        Places of the arrays that must have ended, in the list of arrays.
    behind : tuple of str
        Numbers of jobs of earlier commands that must have ended.
    """

    wave: int
    stage: str
    resources: Resources
    members: tuple[tuple[str, ...], ...]
    after: tuple[int, ...] = ()
    behind: tuple[str, ...] = ()

    @property
    def keys(self) -> list[str]:
        """Keys of all its artifacts."""
        return [key for member in self.members for key in member]


def arrays_of(
    nodes: Sequence[Node],
    *,
    seconds: Callable[[Node], float | None],
    resources: Callable[[Node], Resources],
    most_members: int,
    job_seconds: float,
    queued: Mapping[str, str],
) -> list[Array]:
    """Plan the arrays that make some artifacts.

    Parameters
    ----------
    nodes : sequence of Node
        What to make, upstream first.
    seconds : callable
        Expected time of each; None where it is unknown, and it then has a job of its own.
    resources : callable
        What its job gets.
    most_members : int
        Longest array.
    job_seconds : float
        Length of a job up to which artifacts are put into it.
    queued : mapping of str to str
        Jobs that make inputs, by the inputs' keys.
    """
    arrays: list[Array] = []
    place: dict[str, int] = {}
    for wave, groups in enumerate(_waves(nodes, resources), 1):
        packs = []
        for group in groups:
            ordered = sorted(group, key=lambda one: max((place.get(up.key, -1) for up in one.upstream()), default=-1))
            packs.append(_packed(ordered, seconds, job_seconds))
        for pack, found in zip(_fitting(packs, most_members), groups, strict=True):
            for start in range(0, len(pack), most_members):
                members = pack[start : start + most_members]
                inputs = {up.key for member in members for one in member for up in one.upstream()}
                after = _latest({place[key] for key in inputs if key in place}, arrays)
                behind = tuple(sorted({queued[key] for key in inputs if key in queued and key not in place}, key=int))
                keys = tuple(tuple(one.key for one in member) for member in members)
                arrays.append(Array(wave, found[0].stage.name, resources(found[0]), keys, after, behind))
        for number, array in enumerate(arrays):
            if array.wave == wave:
                place.update(dict.fromkeys(array.keys, number))
    return arrays


def _waves(nodes: Sequence[Node], resources: Callable[[Node], Resources]) -> list[list[list[Node]]]:
    """Sort artifacts by wave, and in a wave by stage and resources; more than twelve kinds are several waves."""
    waves: dict[int, dict[tuple[str, str], list[Node]]] = {}
    wave_of: dict[str, int] = {}
    classes: dict[tuple[str, int], str] = {}
    for node in nodes:
        wave = 1 + max((wave_of.get(up.key, 0) for up in node.upstream()), default=0)
        wave_of[node.key] = wave
        known = (node.stage.name, node.config.numerics.world_size)
        if known not in classes:
            classes[known] = json.dumps(dict(resources(node)), sort_keys=True, default=str)
        waves.setdefault(wave, {}).setdefault((node.stage.name, classes[known]), []).append(node)
    kinds = [list(waves[wave].values()) for wave in sorted(waves)]
    return [groups[start : start + MOST_ARRAYS] for groups in kinds for start in range(0, len(groups), MOST_ARRAYS)]


def _packed(nodes: Sequence[Node], seconds: Callable[[Node], float | None], job_seconds: float) -> list[list[Node]]:
    """Put artifacts into jobs until each lasts as long as asked for."""
    packs: list[list[Node]] = []
    length = job_seconds
    for node in nodes:
        known = seconds(node)
        if length + (job_seconds if known is None else known) > job_seconds or not packs:
            packs.append([])
            length = IMPORTS
        packs[-1].append(node)
        length += job_seconds if known is None else known
    return packs


def _fitting(groups: list[list[list[Node]]], most_members: int) -> list[list[list[Node]]]:
    """Join jobs of a wave, whose groups are at most twelve, until it has at most twelve arrays."""
    if sum(-(-len(packs) // most_members) for packs in groups) <= MOST_ARRAYS:
        return groups
    room = most_members * max(1, MOST_ARRAYS - len(groups))
    fold = -(-sum(map(len, groups)) // room)
    return [list(_joined(packs, fold)) for packs in groups]


def _joined(packs: list[list[Node]], fold: int) -> Iterator[list[Node]]:
    for start in range(0, len(packs), fold):
        yield [node for pack in packs[start : start + fold] for node in pack]


def _latest(numbers: set[int], arrays: Sequence[Array]) -> tuple[int, ...]:
    """Drop arrays that others of them wait for anyway."""
    before: set[int] = set()
    pending = list(numbers)
    while pending:
        for number in arrays[pending.pop()].after:
            if number not in before:
                before.add(number)
                pending.append(number)
    return tuple(sorted(numbers - before))
