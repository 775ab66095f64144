"""How long an artifact will take and how much memory it will hold, judged by earlier ones that are most like it.

Time grows with what a stage works through: training with its epochs and rows, a kernel with its points. So the time of
an earlier artifact of the same stage and network is scaled by the ratio of those numbers.
"""

from __future__ import annotations

import heapq
import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from pipeline.config.run import RunConfig
from pipeline.engine.artifacts import Store
from pipeline.engine.graph import Node
from pipeline.engine.keys import digest
from pipeline.engine.schedule.scheduler import Outcome, Schedule

GROWTH: dict[str, dict[str, float]] = {
    "prepare": {},
    "train": {"epochs": 1.0, "rows": 1.0},
    "pretrain": {"epochs": 1.0, "rows": 1.0},
    "ensemble": {"epochs": 1.0, "rows": 1.0, "block": 1.0},
    "snapshots": {"epochs": 1.0, "rows": 1.0},
    "kernel": {"points": 1.5},
    "layer_kernels": {"points": 1.5},
    "attribution": {"points": 1.0},
    "surrogate": {"points": 2.0},
}
"""Exponent by which a stage's time grows with each number of its work; a kernel is between N and N squared."""
_NEWEST = 40
"""Earlier artifacts of a stage that are looked at."""


def work_of(config: RunConfig) -> dict[str, Any]:
    """Describe how much a run works through: its network, and the numbers that times grow with.

    Kept in the provenance of every artifact; None where a setting takes all there is.
    """
    points = [config.kernel.n_train, config.kernel.n_test]
    return {
        "network": digest(asdict(config.model)),
        "model": config.model.name,
        "data": config.data.name,
        "threads": config.numerics.threads,
        "device": config.numerics.device,
        "epochs": config.training.epochs,
        "rows": config.data.subset.per_class,
        "block": config.ensemble.block if config.numerics.engine == "ensemble" else 1,
        "points": None if None in points else sum(filter(None, points)),
    }


@dataclass(frozen=True)
class Estimate:
    """Of one artifact.

    Attributes
    ----------
    seconds : float or None
        None where no earlier artifact tells.
    memory : int
        Peak of one process in bytes; 0 where unknown.
    """

    seconds: float | None
    memory: int = 0


@dataclass
class Estimates:
    """Estimates from what a store holds; each stage's folder is read once.

    Attributes
    ----------
    store : Store
        Where earlier artifacts lie.
    """

    store: Store
    _earlier: dict[str, list[dict[str, Any]]] = field(default_factory=dict, repr=False)
    _known: dict[tuple[str, str], Estimate] = field(default_factory=dict, repr=False)

    def of(self, node: Node) -> Estimate:
        """Estimate one artifact."""
        work = work_of(node.config)
        memo = (node.stage.name, json.dumps(work, sort_keys=True))
        if memo not in self._known:
            self._known[memo] = self._from(self._records(node.stage.name), node.stage.name, work)
        return self._known[memo]

    @property
    def judged_by(self) -> int:
        """How many earlier artifacts were looked at."""
        return sum(len(records) for records in self._earlier.values())

    def _from(self, records: Sequence[dict[str, Any]], stage: str, work: dict[str, Any]) -> Estimate:
        for names in (("network", "data", "device"), ("network",), ("model",), ()):
            alike = [one for one in records if all(one["work"].get(name) == work[name] for name in names)]
            if alike:
                break
        else:
            return Estimate(None)
        seconds = [one["seconds"] * _growth(stage, one["work"], work) for one in alike]
        return Estimate(statistics.median(seconds), max(one["memory"] for one in alike))

    def _records(self, stage: str) -> list[dict[str, Any]]:
        if stage not in self._earlier:
            found = [artifact.provenance for artifact in self.store.newest(stage, _NEWEST)]
            self._earlier[stage] = [
                {
                    "seconds": float(record["wall_seconds"]),
                    "memory": record.get("peak_memory_bytes", 0),
                    "work": record.get("work", {}),
                }
                for record in found
                if "wall_seconds" in record
            ]
        return self._earlier[stage]


def _growth(stage: str, then: dict[str, Any], now: dict[str, Any]) -> float:
    factor = 1.0
    for name, exponent in GROWTH.get(stage, {}).items():
        before, after = then.get(name), now.get(name)
        if isinstance(before, (int, float)) and isinstance(after, (int, float)) and before > 0:
            factor *= (after / before) ** exponent
    return factor


def makespan(nodes: Sequence[Node], estimates: Estimates, workers: int) -> float:
    """Simulate the scheduler on some workers; seconds until all is made, without what no earlier artifact tells.

    Parameters
    ----------
    nodes : sequence of Node
        What is to be made, upstream first.
    estimates : Estimates
        Of each.
    workers : int
        How many are made at the same time.
    """
    seconds = {node.key: estimates.of(node).seconds or 0.0 for node in nodes}
    schedule = Schedule(nodes, weigh=lambda node: seconds[node.key])
    queue, clock = schedule.ready(), 0.0
    running: list[tuple[float, str]] = []
    while queue or running:
        while queue and len(running) < workers:
            node = queue.pop(0)
            heapq.heappush(running, (clock + seconds[node.key], node.key))
        clock, key = heapq.heappop(running)
        queue += schedule.end(Outcome(key))
    return clock
