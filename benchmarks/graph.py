"""The whole graph at once: how much faster two workers are, and what planning and scheduling cost.

    python -m benchmarks.graph                                  # everything, quickstart at debug=tiny
    python -m benchmarks.graph --study ""                       # the whole quickstart in its place
    python -m benchmarks.graph --only plan --python SNAKEMAKE/bin/python

``study`` makes quickstart from an empty store with one and with two workers, one after another, on two cores. ``nodes``
makes artifacts of which none takes any time on two warm workers. ``plan`` plans a study of 10,000 artifacts and lets
simulated workers make it; with ``--python``, the Python of an environment that has Snakemake, ``snakemake -n`` plans
the same graph.
"""

from __future__ import annotations

import argparse
import heapq
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


def time_study(words: Sequence[str], workers: int, cache: str) -> float:
    """Seconds of quickstart from an empty store."""
    folder = Path(tempfile.mkdtemp(prefix="graph-"))
    command = [sys.executable, "run.py", "experiment=quickstart", *words, f"workers={workers}"]
    command += [f"paths.store={folder}/store", f"paths.cache={cache}", f"hydra.run.dir={folder}/hydra"]
    begun = time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    seconds = time.perf_counter() - begun
    shutil.rmtree(folder)
    if done.returncode:
        raise SystemExit(done.stderr)
    return seconds


def time_nodes(count: int) -> tuple[float, float]:
    """Seconds per artifact that takes no time, on two warm workers, and in this process."""
    install()
    found = []
    for workers in (2, 1):
        folder = Path(tempfile.mkdtemp(prefix="graph-"))
        graph = Graph(["experiment=load"])
        target = graph.resolve("collect", study(count))
        begun = time.perf_counter()
        Puller(Store(folder), graph, workers=workers).pull(target)
        found.append((time.perf_counter() - begun) / (count + 1))
        shutil.rmtree(folder)
    return found[0], found[1]


def plan_study(seeds: int, python: str | None) -> None:
    """Plan a large study, simulate its making, and compare with Snakemake."""
    words = ("experiment=quickstart", f"cells.seed='0:{seeds}'")
    begun = time.perf_counter()
    graph = Graph(words, compose_run)
    target = graph.resolve("report", compose_run(words))
    resolved = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "store")
        found = plan(target, store, lambda node: True)
        estimates = Estimates(store, 2)
        announce(found, store, estimates, 2)
    planned = time.perf_counter()
    count = len(found.todo)
    print(f"{count} artifacts: resolved in {resolved - begun:.2f} s, planned in {planned - begun:.2f} s", flush=True)
    for workers in (1, 8, 64):
        begun = time.perf_counter()
        run(Schedule(list(found.todo)), Simulated(workers))
        seconds = time.perf_counter() - begun
        print(f"scheduling, {workers} simulated workers: {seconds / count * 1e6:.0f} µs per artifact", flush=True)
    if python is not None:
        print(f"snakemake -n on the same graph: {snakemake(found.todo, target, python):.1f} s", flush=True)


def snakemake(nodes: Sequence[Node], target: Node, python: str) -> float:
    """Seconds of ``snakemake -n`` on a graph."""
    inputs = {_name(node): [_name(one) for one in node.upstream()] for node in nodes}
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "graph.json").write_text(json.dumps({"target": _name(target), "inputs": inputs}))
        rules = "".join(_RULE.format(stage=stage) for stage in Counter(node.stage.name for node in nodes))
        (Path(folder) / "Snakefile").write_text(_SNAKEFILE + rules)
        begun = time.perf_counter()
        # An absent output of 10,000 is what a first run meets.
        done = subprocess.run([python, "-m", "snakemake", "-n", "-q"], cwd=folder, capture_output=True, text=True)
        seconds = time.perf_counter() - begun
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return seconds


def _name(node: Node) -> str:
    return f"{node.stage.name}-{node.key}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", choices=("study", "nodes", "plan"))
    parser.add_argument("--study", default="debug=tiny", help="overrides of quickstart, separated by blanks")
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
        two, one = time_nodes(chosen.nodes)
        print(
            f"overhead per artifact: {two * 1e3:.1f} ms on two workers, {one * 1e3:.1f} ms in one process", flush=True
        )
    if chosen.only in (None, "study"):
        one, two = (time_study(chosen.study.split(), workers, chosen.cache) for workers in (1, 2))
        print(f"quickstart {chosen.study}: {one:.1f} s with 1 worker, {two:.1f} s with 2: {one / two:.2f} times")


if __name__ == "__main__":
    main()
