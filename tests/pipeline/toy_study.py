"""A study of toy stages as a command of its own: ``python -m tests.pipeline.toy_study STORE WORKERS SEEDS``."""

import signal
import sys
from pathlib import Path

from pipeline.ending import last_words
from pipeline.engine import keys
from pipeline.engine.artifacts import Store
from pipeline.engine.executor import Puller
from pipeline.engine.graph import Graph
from pipeline.engine.stages import STAGES
from tests.pipeline.toy_stages import TOY, toy_defaults


def main(store: str, workers: str, seeds: str, allow_missing: str = "0", target: str = "total") -> None:
    from tests.pipeline.toy_cells import run_config

    signal.signal(signal.SIGINT, signal.default_int_handler)  # tests in the background inherit that it is ignored
    STAGES.update(TOY)
    table = toy_defaults()
    keys.defaults_table = lambda: table
    graph = Graph(["experiment=toy"])
    maker = Puller(Store(Path(store)), graph, workers=int(workers), allow_missing=int(allow_missing))
    with last_words():
        print(maker.pull(graph.resolve(target, run_config(cells={"seed": seeds}))).folder)
    assert int(workers) == 1 or "torch" not in sys.modules  # a process that has loaded it must not be forked


if __name__ == "__main__":
    main(*sys.argv[1:])
