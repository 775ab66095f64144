"""A finished toy study of three seeds, and the command that reads it."""

from pathlib import Path

from pipeline.engine.artifacts import Store
from pipeline.engine.executor import Puller
from pipeline.engine.graph import Graph, Node
from tests.pipeline.toy_cells import run_config

SEEDS = "0:3"


def make_study(root: Path) -> tuple[Store, Node]:
    """Make it; gives the store and the node of its gather."""
    store, graph = Store(root), Graph(["experiment=toy"])
    target = graph.resolve("total", run_config(cells={"seed": SEEDS}))
    Puller(store, graph).pull(target)
    return store, target
