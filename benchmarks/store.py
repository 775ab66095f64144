"""Load test of the artifact store: thousands of artifacts, many processes, each needed by every process.

    python -m benchmarks.store --artifacts 5000 --processes 8

Each process goes through all artifacts in its own order, so that at any time several need the same ones. The
stages do almost no work: what is measured is the store.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import multiprocessing
import random
import tempfile
import time
from pathlib import Path

import numpy as np

from pipeline.config.run import RunConfig
from pipeline.engine.artifacts import Artifact, Store
from pipeline.engine.build import Build
from pipeline.engine.cells import with_seed
from pipeline.engine.executor import Puller
from pipeline.engine.graph import Graph, Node
from pipeline.engine.keys import defaults_table, schema_defaults
from pipeline.engine.stages import STAGES, Stage
from pipeline.engine.status import nodes_of, rows_of

HERE = "benchmarks.store"


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

    def silent(message: str) -> None:
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
    entries = list((root / "draw").iterdir())
    assert len(entries) == n and all(entry.suffix == "" for entry in entries), "no lock and nothing half-made"
    for entry in entries:
        Artifact(entry).verify()


def timed(label: str, call) -> float:
    started = time.perf_counter()
    result = call()
    print(f"{label}: {time.perf_counter() - started:.2f} s", flush=True)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--artifacts", type=int, default=5000)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--folder", type=Path, default=None, help="where to write; a temporary folder when absent")
    options = parser.parse_args()
    n, processes = options.artifacts, options.processes
    install()
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
        config = dataclasses.replace(study(n), wants=["collect"])
        nodes = timed("status: addresses", lambda: nodes_of(Graph().resolve("report", config)))
        rows = timed("status: states", lambda: rows_of(nodes, Store(root)))
        assert sum(row.state == "done" for row in rows) == n
        for size in (n // 8, n // 4, n // 2, n):
            graph = Graph()
            node = graph.resolve("collect", study(size))
            timed(f"gather {size}", lambda node=node, graph=graph: Puller(Store(root), graph).pull(node))


if __name__ == "__main__":
    main()
