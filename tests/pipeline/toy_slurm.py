"""A study of toy stages on SLURM: ``python -m tests.pipeline.toy_slurm STORE SEEDS`` submits what is missing."""

import sys
from pathlib import Path

from pipeline.ending import last_words
from pipeline.engine import keys
from pipeline.engine.artifacts import Store
from pipeline.engine.graph import Graph
from pipeline.engine.schedule.slurm.submission import submit
from pipeline.engine.stages import STAGES
from tests.pipeline.toy_stages import TOY, toy_defaults

LAUNCHER = {"timeout_min": 60, "mem_gb": 1, "cpus_per_task": 1, "array_parallelism": 9, "max_num_timeout": 3}


def install() -> None:
    STAGES.update(TOY)
    table = toy_defaults()
    keys.defaults_table = lambda: table


def main(root: str, seeds: str) -> None:
    from tests.pipeline.toy_cells import run_config

    install()
    config = run_config(cells={"seed": seeds}, wants=["square"])
    graph, store = Graph(["experiment=toy"]), Store(Path(root))
    target = graph.resolve("total", config)
    with last_words():
        if not submit(target, graph, store, config, LAUNCHER, module="tests.pipeline.toy_slurm_member"):
            print(f"done: {store.folder(*target.address)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
