"""A store of two rates with four seeds each, an artifact that failed, and a training that stopped."""

import dataclasses
import json

from pipeline.engine.artifacts import Store, partial_of
from pipeline.engine.cells import with_seed
from pipeline.engine.executor import Puller
from pipeline.engine.graph import Graph
from tests.pipeline.toy_cells import run_config

HOSTILE = "<img src=x onerror=alert(1)></script><!--"


def make_store(root):
    """Make it; gives the store."""
    store, graph = Store(root), Graph(["experiment=toy"])
    for rate in (0.1, 0.2):
        config = run_config()
        config = dataclasses.replace(config, training=dataclasses.replace(config.training, lr=rate))
        for seed in range(4):
            Puller(store, graph).pull(
                graph.resolve("square", with_seed(config, seed), ("experiment=toy", f"seed={seed}"))
            )
    failed = partial_of(root / "draw" / "ff" / "toy-none-s9-ffffffffffff")
    (failed / "logs").mkdir(parents=True)
    failure = {"error": HOSTILE, "traceback": "none", "command": f"python run.py {HOSTILE}"}
    (failed / "logs" / "failed.json").write_text(json.dumps(failure))
    begun = partial_of(root / "train" / "aa" / "toy-mlp-s0-aaaaaaaaaaaa") / "scratch"
    begun.mkdir(parents=True)
    (begun / "history.csv").write_text("epoch,step,lr,train_loss\n1,5,0.1,0.5\n2,10,0.1,0.25\n")
    note = {"done": 10, "total": 50, "text": "epoch 3/10", "seconds_left": 1.0, "written": 1.0}
    (begun / "progress.json").write_text(json.dumps(note))
    (begun / "attempt.json").write_text(json.dumps({"labels": {"seed": "0"}, "command": "c"}))
    return store
