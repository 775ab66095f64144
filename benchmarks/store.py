"""Load test of the artifact store: ten thousand artifacts, many processes, each needed by every process.

    python -m benchmarks.store --artifacts 10000 --processes 8

Each process goes through all artifacts in its own order, so that at any time several need the same ones. The
stages do almost no work: what is measured is the store. Then every way to look at it is timed, without an index (the
first look) and with one, in folders by key and in the flat folders of earlier versions, and the file look-ups that it
takes are counted by ``strace``, if there is one: on a network disk each costs a round trip.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np

from pipeline.config.run import RunConfig
from pipeline.engine.artifacts import Artifact, Store
from pipeline.engine.build import Build
from pipeline.engine.cells import with_seed
from pipeline.engine.executor import Puller
from pipeline.engine.graph import Graph, Node
from pipeline.engine.inventory.index import INDEX
from pipeline.engine.keys import defaults_table, schema_defaults
from pipeline.engine.plan import plan
from pipeline.engine.rebuild import Rebuild
from pipeline.engine.stages import STAGES, Stage
from pipeline.engine.status import nodes_of, rows_of
from pipeline.results import read_results
from pipeline.results.chosen import choose
from pipeline.results.commands import made

HERE = "benchmarks.store"
T = TypeVar("T")


def draw(build: Build) -> dict[str, float]:
    """A stand-in for a trained network: a small array and one metric."""
    values = np.random.default_rng(build.config.streams.init).normal(size=64).astype(np.float32)
    build.write_arrays("values.safetensors", {"values": values})
    return {"mean": float(values.mean())}


def collect(build: Build) -> dict[str, float]:
    """A stand-in for a report: read one file of every member."""
    means = [member.artifact.metrics["mean"] for member in build.members["draw"]]
    return {"n": len(means), "mean": float(np.mean(means))}


def install() -> None:
    """Put the two stages into this process's stage table."""
    stages = (
        Stage("draw", f"{HERE}:draw", ("seeds",)),
        Stage("collect", f"{HERE}:collect", ("experiment_name",), gathers=lambda config: ["draw"]),
    )
    for stage in stages:
        STAGES[stage.name] = stage
        fields = schema_defaults(RunConfig(), stage.sections)
        defaults_table()[stage.name] = {"version": stage.version, "frozen": fields, "added": {}}


def study(n: int) -> RunConfig:
    return RunConfig(experiment_name=f"load{n}", cells={"seed": f"0:{n}"}, wants=["draw"])


def node_of(graph: Graph, seed: int) -> Node:
    return graph.resolve("draw", with_seed(RunConfig(), seed), (f"seed={seed}",))


def work(root: Path, n: int, worker: int) -> None:
    """Make every artifact that is still absent; write down which ones this process made."""
    install()
    import pipeline.engine.build
    import pipeline.engine.executor

    def silent(message: str, stamp: str = "") -> None:
        """Print nothing: eight processes wait for each other all the time."""

    pipeline.engine.build.say = pipeline.engine.executor.say = silent
    made: list[int] = []
    seeds = list(range(n))
    random.Random(worker).shuffle(seeds)
    graph = Graph()
    for seed in seeds:
        puller = Puller(Store(root), graph)
        puller._call = lambda build, seed=seed, call=puller._call: (made.append(seed), call(build))
        puller.make(node_of(graph, seed))
    (root / f"made-{worker}.json").write_text(json.dumps(made), encoding="utf-8")


def check(root: Path, n: int, processes: int) -> None:
    """Nothing is lost, doubled or damaged."""
    made = [
        seed
        for worker in range(processes)
        for seed in json.loads((root / f"made-{worker}.json").read_text(encoding="utf-8"))
    ]
    assert sorted(made) == list(range(n)), f"{len(made)} builds of {n} artifacts"
    entries = list((root / "draw").glob("*/*"))
    assert len(entries) == n and all(entry.suffix == "" for entry in entries), "no lock and nothing half-made"
    for entry in entries:
        Artifact(entry).verify()


LOOKS = ("status", "results", "list", "gather")
_BEGIN, _END = "/benchmark-begins", "/benchmark-ends"


def look(root: Path, n: int, what: str) -> Callable[[], object]:
    """Prepare one way to look at a store; what is returned does it."""
    store, graph = Store(root), Graph()
    target = graph.resolve("collect", study(n))
    if what == "status":
        nodes = nodes_of(target)
        return lambda: rows_of(nodes, store)
    if what == "gather":
        maker = Puller(store, graph, rebuild=Rebuild(frozenset({"collect"})))
        return lambda: maker.pull(target)
    read = read_results if what == "results" else lambda store, target: made(choose(store, target))
    return lambda: read(store, target)


def timed(label: str, call: Callable[[], T]) -> T:
    started = time.perf_counter()
    result = call()
    print(f"{label}: {time.perf_counter() - started:.2f} s", flush=True)
    return result


def seconds(root: Path, n: int, what: str) -> float:
    """Time one look; addresses are worked out before."""
    call = look(root, n, what)
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def counted(root: Path, n: int, what: str) -> int | None:
    """Count the look-ups of files and folders of one look in a process of its own; None without ``strace``."""
    if shutil.which("strace") is None:
        return None
    with tempfile.NamedTemporaryFile("r", suffix=".strace", encoding="utf-8", errors="replace") as log:
        command = ["strace", "-f", "-qq", "-e", "trace=%file,getdents64", "-o", log.name, sys.executable, "-m", HERE]
        command += ["--folder", str(root), "--artifacts", str(n), "--look", what]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        lines = log.read().splitlines()
    begin, end = (next(i for i, line in enumerate(lines) if mark in line) for mark in (_BEGIN, _END))
    return sum(str(root) in line or "getdents64" in line for line in lines[begin:end])


def traced(root: Path, n: int, what: str) -> None:
    """Do one look between two marks in the log of ``strace``."""
    call = look(root, n, what)
    os.path.exists(_BEGIN)
    call()
    os.path.exists(_END)


def flatten(root: Path) -> None:
    """Move every artifact to where earlier versions put it."""
    for stage in (entry for entry in root.iterdir() if entry.is_dir()):
        for shard in [entry for entry in stage.iterdir() if len(entry.name) == 2]:
            for folder in shard.iterdir():
                folder.rename(stage / folder.name)
            shard.rmdir()


def compare(root: Path, n: int) -> None:
    """Print a table of times and look-ups, by layout and by whether there is an index."""
    print("| look | folders | first look | with the index | look-ups of the first | with the index |\n|" + " --- |" * 6)
    for layout in ("by key", "flat"):
        for what in LOOKS:
            (root / INDEX).unlink(missing_ok=True)
            first = seconds(root, n, what)
            later = min(seconds(root, n, what) for _ in range(3))
            with_index = counted(root, n, what)
            (root / INDEX).unlink(missing_ok=True)
            without = counted(root, n, what)
            print(f"| {what} | {layout} | {first:.2f} s | {later:.2f} s | {without} | {with_index} |", flush=True)
        flatten(root)


def files_of(root: Path) -> str:
    """Count files and folders of an artifact."""
    folder = next(iter(Store(root).finished("draw")))
    entries = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))
    return f"{len(entries)} entries in an artifact: {', '.join(entries)}"


def plan_study(seeds: int) -> None:
    """Time addresses and plan of a real study, of which nothing is there."""
    with tempfile.TemporaryDirectory() as folder:
        graph = Graph(["experiment=quickstart", f"cells.seed=0:{seeds}"])
        config = timed("a study: composition", graph.compose)
        timed("a study: cells", lambda: graph.cells(config))
        target = timed("a study: addresses", lambda: graph.resolve("report", config))
        found = timed("a study: what is there", lambda: plan(target, Store(Path(folder)), lambda node: True))
        print(f"a study: {len(found.todo)} artifacts")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--artifacts", type=int, default=10_000)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--folder", type=Path, default=None, help="where to write; a temporary folder when absent")
    parser.add_argument("--look", choices=LOOKS, help="look once at the store in --folder, and no more")
    options = parser.parse_args()
    n, processes = options.artifacts, options.processes
    install()
    if options.look:
        traced(options.folder, n, options.look)
        return
    plan_study(max(1, n // 18))
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        root = Path(folder)
        context = multiprocessing.get_context("fork")

        def make_all() -> None:
            workers = [context.Process(target=work, args=(root, n, worker)) for worker in range(processes)]
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()
            assert not any(worker.exitcode for worker in workers)

        timed(f"{n} artifacts by {processes} processes", make_all)
        timed("every byte checked, each made once", lambda: check(root, n, processes))
        print(files_of(root))
        rows = look(root, n, "status")()
        assert isinstance(rows, list) and sum(row.state == "done" for row in rows) == n
        compare(root, n)


if __name__ == "__main__":
    main()
