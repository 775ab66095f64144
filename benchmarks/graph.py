"""The whole graph at once: how much faster two workers are, and what planning and scheduling cost.

    python -m benchmarks.graph                                  # everything
    python -m benchmarks.graph --study debug=tiny               # a quickstart of seconds in place of the whole one
    python -m benchmarks.graph --only plan --python SNAKEMAKE/bin/python

``study`` makes quickstart from an empty store with one and with two workers, one after another, on two cores. ``nodes``
makes artifacts of which none takes any time on two warm workers. ``plan`` plans a study of 10,000 artifacts and lets
simulated workers make it; with ``--python``, the Python of an environment that has Snakemake, ``snakemake -n`` plans
the same graph.
"""

from __future__ import annotations

import argparse
import contextlib
import heapq
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.store import install, study
from pipeline.engine.artifacts import Store
from pipeline.engine.cells import compose_run
from pipeline.engine.executor import Puller
from pipeline.engine.graph import Graph, Node
from pipeline.engine.plan import announce, plan
from pipeline.engine.schedule.estimates import Estimates
from pipeline.engine.schedule.scheduler import Outcome, Schedule, run

ROOT = Path(__file__).resolve().parents[1]
SEEDS = 555
"""Of quickstart; about 10,000 artifacts."""
_SNAKEFILE = """
import json
GRAPH = json.load(open("graph.json"))
rule all:
    input: "done/" + GRAPH["target"]
"""
_RULE = """
rule {stage}:
    input: lambda wildcards: ["done/" + one for one in GRAPH["inputs"]["{stage}-" + wildcards.key]]
    output: "done/{stage}-{{key}}"
    shell: "touch {{output}}"
"""


class Simulated:
    """Executor whose artifacts take a second of a clock that nobody waits for."""

    def __init__(self, workers: int) -> None:
        self._free, self._clock = workers, 0
        self._queue: list[Node] = []
        self._running: list[tuple[int, str]] = []

    def submit(self, nodes: Sequence[Node], failures: Mapping[str, Exception]) -> None:
        """Queue artifacts."""
        self._queue += nodes

    def poll(self) -> list[Outcome]:
        """Begin what there are workers for, and let the next one end."""
        while self._queue and self._free:
            heapq.heappush(self._running, (self._clock + 1, self._queue.pop(0).key))
            self._free -= 1
        self._clock, key = heapq.heappop(self._running)
        self._free += 1
        return [Outcome(key)]


class Clock:
    """Seconds on the wall and of processors, those of ended child processes included, since it was made."""

    def __init__(self) -> None:
        """Start."""
        self._wall, self._used = time.perf_counter(), self._processors()

    @staticmethod
    def _processors() -> float:
        times = os.times()
        return times.user + times.system + times.children_user + times.children_system

    @property
    def wall(self) -> float:
        """Seconds on the wall."""
        return time.perf_counter() - self._wall

    @property
    def used(self) -> float:
        """Seconds of processors: on a shared machine the steadier measure."""
        return self._processors() - self._used

    def __str__(self) -> str:
        """Both, for a table."""
        return f"{self.wall:.2f} s ({self.used:.2f} s of processors)"


def time_study(words: Sequence[str], workers: int, cache: str) -> float:
    """Seconds of quickstart from an empty store."""
    folder = Path(tempfile.mkdtemp(prefix="graph-"))
    command = [sys.executable, "run.py", "experiment=quickstart", *words, f"workers={workers}"]
    command += [f"paths.store={folder}/store", f"paths.cache={cache}", f"hydra.run.dir={folder}/hydra"]
    clock = Clock()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    print(f"quickstart {' '.join(words)} with {workers} workers: {clock}", flush=True)
    shutil.rmtree(folder)
    if done.returncode:
        raise SystemExit(done.stderr)
    return clock.wall


def time_nodes(count: int) -> None:
    """Make artifacts that take no time, on two warm workers, and in this process."""
    install()
    for workers in (2, 1):
        folder = Path(tempfile.mkdtemp(prefix="graph-"))
        graph = Graph(["experiment=load"])
        target = graph.resolve("collect", study(count))
        clock = Clock()
        with contextlib.redirect_stderr(io.StringIO()):
            Puller(Store(folder), graph, workers=workers).pull(target)
        each, used = clock.wall / (count + 1), clock.used / (count + 1)
        times = f"{each * 1e3:.1f} ms each, {used * 1e3:.1f} ms of processors"
        print(f"{count} artifacts that take no time, {workers} workers: {times}", flush=True)
        shutil.rmtree(folder)


def plan_study(seeds: int, python: str | None) -> None:
    """Plan a large study, simulate its making, and compare with Snakemake."""
    words = ("experiment=quickstart", f"cells.seed='0:{seeds}'")
    clock = Clock()
    graph = Graph(words, compose_run)
    target = graph.resolve("report", compose_run(words))
    resolved = str(clock)
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "store")
        found = plan(target, store, lambda node: True)
        estimates = Estimates(store, 2)
        announce(found, store, estimates, 2)
    count = len(found.todo)
    print(f"{count} artifacts: addresses after {resolved}, plan after {clock}", flush=True)
    for workers in (1, 8, 64):
        clock = Clock()
        run(Schedule(list(found.todo)), Simulated(workers))
        print(f"scheduling, {workers} simulated workers: {clock.used / count * 1e6:.0f} µs per artifact", flush=True)
    if python is not None:
        print(f"snakemake -n on the same graph: {snakemake(found.todo, target, python)}", flush=True)


def snakemake(nodes: Sequence[Node], target: Node, python: str) -> str:
    """Time of ``snakemake -n`` on a graph."""
    inputs = {_name(node): [_name(one) for one in node.upstream()] for node in nodes}
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "graph.json").write_text(json.dumps({"target": _name(target), "inputs": inputs}))
        rules = "".join(_RULE.format(stage=stage) for stage in Counter(node.stage.name for node in nodes))
        (Path(folder) / "Snakefile").write_text(_SNAKEFILE + rules)
        clock = Clock()
        # An absent output of 10,000 is what a first run meets.
        done = subprocess.run([python, "-m", "snakemake", "-n", "-q"], cwd=folder, capture_output=True, text=True)
        taken = str(clock)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return taken


def _name(node: Node) -> str:
    return f"{node.stage.name}-{node.key}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", choices=("study", "nodes", "plan"))
    parser.add_argument("--study", default="", help="overrides of quickstart, separated by blanks")
    parser.add_argument("--nodes", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--cache", default=str(ROOT / "data_cache"), help="folder of downloaded archives")
    parser.add_argument("--python", help="Python of an environment that has Snakemake")
    chosen = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
    if chosen.only in (None, "plan"):
        plan_study(chosen.seeds, chosen.python)
    if chosen.only in (None, "nodes"):
        time_nodes(chosen.nodes)
    if chosen.only in (None, "study"):
        one, two = (time_study(chosen.study.split(), workers, chosen.cache) for workers in (1, 2))
        print(f"two workers are {one / two:.2f} times as fast", flush=True)


if __name__ == "__main__":
    main()
