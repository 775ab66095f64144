"""A small network, a planted trigger, and one call that builds a stage."""

from __future__ import annotations

from pathlib import Path

from pipeline.engine.artifacts import Artifact
from pipeline.engine.cells import compose_run

SMALL = ("model=mlp", "model.widths=[12]", "training.epochs=2", "training.batch_size=8", "surrogate.draws=20")
POISON = (
    "data.poison.kind=badnets",
    "data.poison.rate=0.15",
    "data.poison.target=1",
    "+data.poison.options={size:3,margin:1}",
    "kernel.test_splits=[test,test_triggered]",
    "attribution=compare",
    "attribution.dim=32",
)


def pull(stage: str, store: Path, *overrides: str) -> Artifact:
    """Build one stage's artifact in a store."""
    from pipeline.entry import execute

    words = (*overrides, f"stage={stage}", f"paths.store={store}", f"paths.cache={store}")
    artifact = execute(compose_run(words), words)
    assert artifact is not None
    return artifact
