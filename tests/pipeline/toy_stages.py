"""A small stage table with functions that count how often they run, for tests of the store alone."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import numpy as np

from pipeline.config.run import RunConfig
from pipeline.engine.cells import with_seed
from pipeline.engine.executor import Puller
from pipeline.engine.keys import schema_defaults
from pipeline.engine.stages import STAGES, Stage

HERE = "tests.pipeline.toy_stages"


def _on(**roles):
    return lambda config: {role: (stage, config) for role, stage in roles.items()}


TOY = {
    "draw": Stage("draw", f"{HERE}:draw", ("seeds", "training")),
    "square": Stage("square", f"{HERE}:square", ("kernel",), needs=_on(draw="draw")),
    "pooled": Stage("pooled", f"{HERE}:pooled", ("kernel",), needs=_on(draw="draw"), makes=("draw",)),
    "pools": Stage("pools", f"{HERE}:pools", ("statistics", "experiment_name"), gathers=lambda config: ["pooled"]),
    "total": Stage("total", f"{HERE}:total", ("statistics", "experiment_name"), gathers=lambda config: ["square"]),
}


def toy_defaults() -> dict:
    return {
        name: {"version": stage.version, "frozen": schema_defaults(RunConfig(), stage.sections), "added": {}}
        for name, stage in {**STAGES, **TOY}.items()
    }


def install(patch) -> None:
    """Put the toy stages beside the real ones, through pytest's monkeypatch."""
    table = toy_defaults()
    for name, stage in TOY.items():
        patch.setitem(STAGES, name, stage)
    patch.setattr("pipeline.engine.keys.defaults_table", lambda: table)


def _count(name: str) -> None:
    if folder := os.environ.get("TOY_COUNTS"):
        with open(Path(folder) / name, "a") as stream:
            stream.write(f"{os.getpid()}\n")


def _first(mark: Path) -> bool:
    """Whether this is the first call for a mark, of any process."""
    try:
        mark.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def draw(build):
    """Ten steps, each kept in scratch; resumes behind the last finished one."""
    _count("draw")
    seed = build.config.streams.init
    if seed == 13:
        raise ValueError("unlucky seed")
    rows = []
    for step in range(10):
        path = build.scratch / f"{step}.npy"
        if not path.exists():
            if os.environ.get("TOY_KILL") == f"draw{step}":
                os.kill(os.getpid(), signal.SIGKILL)
            if os.environ.get("TOY_KILL_ONCE") == f"draw{step}" and _first(build.store.root.parent / "killed"):
                os.kill(os.getpid(), signal.SIGKILL)
            temporary = path.with_suffix(".tmp.npy")
            np.save(temporary, np.random.default_rng([seed, step]).normal(size=3))
            os.replace(temporary, path)
        rows.append(np.load(path))
        (build.folder / "half-written.txt").write_text("x" * step)
        time.sleep(float(os.environ.get("TOY_SLEEP", "0")))
    (build.folder / "half-written.txt").unlink()
    build.write_arrays("draws.safetensors", {"draws": np.stack(rows)})
    return {"seed": seed}


def square(build):
    _count("square")
    draws = build.inputs["draw"].arrays("draws.safetensors")["draws"]
    build.write_arrays("square.safetensors", {"square": draws**2})
    return {"sum": float((draws**2).sum())}


def pooled(build):
    """Average over draws of six further seeds, which it asks for itself."""
    _count("pooled")
    configs = [with_seed(build.config, seed) for seed in range(100, 106)]
    nodes = [build.own_node("draw", config, (f"seed={config.seed}",)) for config in configs]
    build.together(nodes)
    maker = Puller(build.store, build.graph, rebuild=build.rebuild)
    draws = [maker.make(node).arrays("draws.safetensors")["draws"] for node in nodes]
    build.write_arrays("pooled.safetensors", {"pooled": np.mean(draws, axis=0)})
    return {"n": len(draws)}


def pools(build):
    return {"n": len(build.members["pooled"])}


def total(build):
    _count("total")
    members = build.members["square"]
    build.write_table(
        "total.parquet",
        {"seed": [m.labels["seed"] for m in members], "sum": [m.artifact.metrics["sum"] for m in members]},
    )
    return {"n": len(members)}
