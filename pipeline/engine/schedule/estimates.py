"""How long an artifact will take, and how much memory and disk, judged by earlier ones that are most like it.

Time grows with what a stage works through: training with its epochs and rows, a kernel with its points. Where earlier
artifacts of one network differ in these numbers, a fixed part and one that grows are fitted to them; else the time is
scaled. How far off earlier estimates were is measured on the store itself, and said with every plan.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from kernels.machine.memory import available_memory, parse_memory
from pipeline.engine.artifacts import Artifact, Store
from pipeline.engine.graph import Node
from pipeline.engine.schedule.work import DISK, GROWTH, OF_NETWORK, work_of, working_together
from pipeline.errors import UserError

_NEWEST = 40
"""Earlier artifacts of a stage that are looked at."""
_ALIKE = (("network", "data", "device", "own"), ("network", "data", "device"), ("network",), ("model",), ())
"""What an earlier artifact shares with the one that is estimated; the first kind of which there is one is taken."""
PROCESS = 2**29
"""Bytes of a process with its libraries, where nothing was measured yet."""
_LOOK_EVERY = 0.2
"""Seconds between two looks at the free memory."""
_LARGER = 1.01
"""Ratio of work from which on an artifact is larger than another."""
_SPREAD = 1.5
"""Ratio of work from which on a fixed part can be told from one that grows."""


@dataclass(frozen=True)
class Estimate:
    """Of one artifact.

    Attributes
    ----------
    seconds : float or None
        None where no earlier artifact tells.
    memory : int
        Peak of one process in bytes: measured on earlier artifacts, else planned.
    disk : int
        Bytes that it leaves; 0 where unknown.
    measured : bool
        Whether an earlier artifact tells.
    """

    seconds: float | None
    memory: int = PROCESS
    disk: int = 0
    measured: bool = False


@dataclass(frozen=True)
class Error:
    """How far off estimates of a store were.

    Attributes
    ----------
    factor : float
        Median of the larger over the smaller of estimated and measured time; 1 is exact.
    count : int
        Artifacts whose estimate was compared.
    kept : bool
        Whether the estimates were made before the artifacts and kept; else each was estimated from the others now.
    """

    factor: float
    count: int
    kept: bool


@dataclass
class Estimates:
    """Estimates from what a store holds; each stage's folder is read once.

    Attributes
    ----------
    store : Store
        Where earlier artifacts lie.
    workers : int
        How many artifacts are made at the same time: earlier ones beside which as many ran come first.
    """

    store: Store
    workers: int = field(default_factory=working_together)
    _earlier: dict[str, list[dict[str, Any]]] = field(default_factory=dict, repr=False)
    _known: dict[tuple[str, tuple[Any, ...]], Estimate] = field(default_factory=dict, repr=False)
    _by_key: dict[str, Estimate] = field(default_factory=dict, repr=False)

    def of(self, node: Node) -> Estimate:
        """Estimate one artifact."""
        if node.key not in self._by_key:
            work, stage = work_of(node), node.stage.name
            memo = (stage, tuple(work.values()))
            if memo not in self._known:
                self._known[memo] = self._from(self._records(stage), stage, work, _planned_memory(node))
            self._by_key[node.key] = self._known[memo]
        return self._by_key[node.key]

    def learn(self, node: Node, seconds: float) -> bool:
        """Take the time of an artifact for those like it, where no earlier one told; returns whether it did."""
        known = self.of(node)
        if known.seconds is not None:
            return False
        learned = replace(known, seconds=seconds)
        self._known = {memo: learned if one is known else one for memo, one in self._known.items()}
        self._by_key = {key: learned if one is known else one for key, one in self._by_key.items()}
        return True

    @property
    def judged_by(self) -> int:
        """How many earlier artifacts were looked at."""
        return sum(len(records) for records in self._earlier.values())

    def error(self) -> Error | None:
        """Measure how far off earlier estimates were: as they were kept, else each artifact from the others."""
        records = [one for found in self._earlier.values() for one in found]
        kept = [_off(one["expected"], one["seconds"]) for one in records if one["expected"]]
        if len(kept) >= 3:
            return Error(statistics.median(kept), len(kept), True)
        left_out = []
        for stage, found in self._earlier.items():
            for one in found:
                others = [other for other in found if other is not one]
                expected = self._from(others, stage, one["work"], 0).seconds
                left_out += [] if not expected else [_off(expected, one["seconds"])]
        return Error(statistics.median(left_out), len(left_out), False) if left_out else None

    def _from(self, records: Sequence[dict[str, Any]], stage: str, work: dict[str, Any], planned: int) -> Estimate:
        for names in _ALIKE:
            if not names and stage in OF_NETWORK:
                continue
            alike = [one for one in records if all(one["work"].get(name) == work.get(name) for name in names)]
            if alike:
                break
        else:
            return Estimate(None, planned)
        # Workers share memory bandwidth and caches: what was made beside as many others is most like it.
        beside = [one for one in alike if one["workers"] == self.workers] or alike
        growth = GROWTH.get(stage, {})
        shares = [(one["seconds"], 1 / _growth(growth, one["work"], work)) for one in beside]
        disk = statistics.median(one["disk"] * _growth(DISK.get(stage, {}), one["work"], work) for one in alike)
        memory = max(one["memory"] for one in alike) or planned
        if all(_is_larger(growth, one["work"], work) for one in alike):
            memory = max(memory, planned)  # a kernel of more points than there was takes more, up to its budget
        return Estimate(_fitted(shares), max(memory, 0), round(disk), True)

    def _records(self, stage: str) -> list[dict[str, Any]]:
        if stage not in self._earlier:
            found = [one for artifact in self.store.newest(stage, _NEWEST) if (one := _record(artifact)) is not None]
            self._earlier[stage] = [one for one in found if not one["continued"]] or found
        return self._earlier[stage]


def room_for(estimates: Estimates) -> Callable[[Node, Sequence[Node]], bool]:
    """Judge whether an artifact's peak fits into memory beside the peaks of those that are being made.

    Both what was free at the beginning and what is free now count: another program may have taken it meanwhile.
    """
    at_first = available_memory()
    looked, now = -1.0, 0

    def fits(node: Node, beside: Sequence[Node]) -> bool:
        nonlocal looked, now
        if time.monotonic() - looked > _LOOK_EVERY:
            looked, now = time.monotonic(), available_memory()
        peak = estimates.of(node).memory
        return peak <= now and peak + sum(estimates.of(one).memory for one in beside) <= at_first

    return fits


def _record(artifact: Artifact) -> dict[str, Any] | None:
    record = artifact.provenance
    if "wall_seconds" not in record:
        return None
    try:
        disk = sum(int(entry["bytes"]) for entry in artifact.manifest["files"].values())
    except (UserError, KeyError, TypeError, ValueError):  # damage is told by those who read the payload
        disk = 0
    expected, workers = record.get("expected_seconds"), record.get("workers")
    return {
        "seconds": float(record["wall_seconds"]),
        "memory": record.get("peak_memory_bytes", 0),
        "work": record.get("work", {}),
        "disk": disk,
        "expected": float(expected) if isinstance(expected, (int, float)) else None,
        "workers": workers if isinstance(workers, int) else 1,
        "continued": record.get("continued") is True,  # its time is that of the last attempt alone
    }


def _planned_memory(node: Node) -> int:
    """Bytes of an artifact of which there was none: its process, and the budget that a kernel keeps to."""
    if not any(path.startswith("kernel.") for path in node.sections):
        return PROCESS
    try:
        return PROCESS + parse_memory(node.config.kernel.memory, None)  # type: ignore[arg-type]  # words need no device
    except ValueError:  # refused with a sentence by the stage
        return PROCESS


def _growth(exponents: Mapping[str, float], then: dict[str, Any], now: dict[str, Any]) -> float:
    factor = 1.0
    for name, exponent in exponents.items():
        before, after = then.get(name), now.get(name)
        if isinstance(before, (int, float)) and isinstance(after, (int, float)) and before > 0 and after > 0:
            factor *= (after / before) ** exponent
    return factor


def _is_larger(exponents: Mapping[str, float], then: dict[str, Any], now: dict[str, Any]) -> bool:
    """Whether an artifact works through more than an earlier one; all there is (None) is more than a number."""
    whole = any(now.get(name) is None and then.get(name) is not None for name in exponents)
    return whole or _growth(exponents, then, now) > _LARGER


def _fitted(shares: Sequence[tuple[float, float]]) -> float:
    """Estimate the time of work 1 from (time, work) of others.

    A fixed part and one in proportion to the work, neither negative, with the least relative error; where all works
    are about equal these cannot be told apart, and each time is scaled.
    """
    scaled = statistics.median(seconds / share for seconds, share in shares)
    least, most = min(share for _, share in shares), max(share for _, share in shares)
    if len(shares) < 3 or most < _SPREAD * least or any(seconds <= 0 for seconds, _ in shares):
        return scaled
    rows = [(1 / seconds, share / seconds) for seconds, share in shares]
    aa, ab, bb = (sum(one[i] * one[j] for one in rows) for i, j in ((0, 0), (0, 1), (1, 1)))
    a, b = sum(one[0] for one in rows), sum(one[1] for one in rows)
    determinant = aa * bb - ab * ab
    if determinant <= 1e-12 * aa * bb:
        return scaled
    fixed, slope = (a * bb - b * ab) / determinant, (b * aa - a * ab) / determinant
    if fixed < 0:
        return scaled
    return fixed + slope if slope >= 0 else a / aa


def _off(expected: float, measured: float) -> float:
    low, high = sorted((max(expected, 1e-3), max(measured, 1e-3)))
    return high / low
