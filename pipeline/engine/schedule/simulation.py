"""Run the schedule in thought: how long some workers will need, and how much memory at the same time."""

from __future__ import annotations

import heapq
import itertools
from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.engine.graph import Node
from pipeline.engine.schedule.estimates import Estimates
from pipeline.engine.schedule.scheduler import Outcome, Schedule

_LOOKED_AT = 64
"""Artifacts that are asked whether they fit beside those that are being made."""


@dataclass(frozen=True)
class Course:
    """How a plan is expected to go.

    Attributes
    ----------
    seconds : float
        Until all is made, without what no earlier artifact tells.
    memory : int
        Most bytes at any time.
    """

    seconds: float
    memory: int


def simulate(nodes: Sequence[Node], estimates: Estimates, workers: int, free: float = float("inf")) -> Course:
    """Run the schedule on some workers with the expected times.

    Parameters
    ----------
    nodes : sequence of Node
        What is to be made, upstream first.
    estimates : Estimates
        Of each.
    workers : int
        How many are made at the same time.
    free : float
        Bytes of memory that they share; one may be begun alone whatever it takes.
    """
    expected = {node.key: estimates.of(node) for node in nodes}
    schedule = Schedule(list(nodes), weigh=lambda node: expected[node.key].seconds or 0.0)
    queue: list[tuple[float, int, Node]] = []
    running: list[tuple[float, str]] = []
    clock, used, most, number = 0.0, 0, 0, itertools.count()

    def add(ready: Sequence[Node]) -> None:
        for node in ready:
            insort(queue, (-schedule.urgency(node), next(number), node))

    add(schedule.ready())
    while queue or running:
        place = 0
        while place < min(len(queue), _LOOKED_AT) and len(running) < workers:
            key = queue[place][2].key
            if running and used + expected[key].memory > free:
                place += 1
                continue
            del queue[place]
            heapq.heappush(running, (clock + (expected[key].seconds or 0.0), key))
            used += expected[key].memory
            most = max(most, used)
        clock, key = heapq.heappop(running)
        used -= expected[key].memory
        add(schedule.end(Outcome(key)))
    return Course(clock, most)
