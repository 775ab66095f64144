"""What an artifact works through, kept in its provenance: from it later plans judge times, memory and disk."""

from __future__ import annotations

import hashlib
import os
from dataclasses import asdict
from typing import Any

from models.configs import ModelConfig
from pipeline.config.run import RunConfig
from pipeline.engine.graph import Node
from pipeline.engine.keys import digest

TOGETHER = "SEEDSCOPE_WORKERS"
"""Variable of a worker process: how many there are."""
GROWTH: dict[str, dict[str, float]] = {
    "prepare": {},
    "train": {"epochs": 1.0, "samples": 1.0},
    "pretrain": {"epochs": 1.0, "samples": 1.0},
    "ensemble": {"epochs": 1.0, "samples": 1.0, "block": 1.0},
    "snapshots": {"epochs": 1.0, "samples": 1.0},
    "kernel": {"points": 1.5},
    "layer_kernels": {"points": 1.5},
    "attribution": {"points": 1.0},
    "surrogate": {"points": 2.0},
    "features": {"samples": 1.0},
}
"""Exponent by which a stage's time grows with each number of its work; a kernel is between N and N squared."""
DISK: dict[str, dict[str, float]] = {
    "kernel": {"points": 2.0},
    "features": {"samples": 1.0},
    "ensemble": {"block": 1.0},
}
"""Likewise for the bytes that it leaves."""
OF_NETWORK = frozenset(
    """train pretrain ensemble initial checkpoint snapshots features kernel layer_kernels attribution retraining reruns
    derivatives spread adversarial spectra barriers regression""".split()
)
"""Stages whose time is that of passes through a network: of another kind of network it tells nothing."""
_USUAL = {
    "prepare": 3.0,
    "pretrain": 20.0,
    "train": 20.0,
    "ensemble": 60.0,
    "kernel": 8.0,
    "layer_kernels": 8.0,
    "spectra": 8.0,
    "retraining": 60.0,
    "adversarial": 20.0,
    "surrogate": 3.0,
    "report": 15.0,
}
"""Seconds by stage on a small convolutional network; others take about one."""
_LIGHT = {"mlp": 0.1, "two_layer": 0.1}
"""Share of that by network; a surrogate works on the kernel alone."""
_GROWN = (
    "seed",
    "training.epochs",
    "data.subset.",
    "data.drop",
    "data.keep",
    "data.synthetic.n_",
    "kernel.n_",
    "kernel.memory",
)
"""Settings that are numbers of the work, or that change no time."""
_networks: dict[int, tuple[ModelConfig, str]] = {}


def work_of(node: Node) -> dict[str, Any]:
    """Describe an artifact's work: its network, its own settings, and the numbers that times grow with.

    Numbers are None where a setting takes all there is.
    """
    config = node.config
    points = [config.kernel.n_train, config.kernel.n_test]
    return {
        "network": _network(config.model),
        "model": config.model.name,
        "data": config.data.name,
        "own": _own(node),
        "threads": config.numerics.threads,
        "device": config.numerics.device,
        "epochs": config.training.epochs,
        "samples": _samples(config),
        "block": config.ensemble.block if config.numerics.engine == "ensemble" else 1,
        "points": None if None in points else sum(filter(None, points)),
    }


def usual_seconds(node: Node) -> float:
    """Guess how long an artifact takes where nothing was measured: enough to begin the long ones first, and no more."""
    of_network = node.stage.gathers is None and node.stage.name not in ("prepare", "surrogate")
    return _USUAL.get(node.stage.name, 1.0) * (_LIGHT.get(node.config.model.name, 1.0) if of_network else 1.0)


def working_together() -> int:
    """How many workers share this machine with this process, itself included."""
    count = os.environ.get(TOGETHER, "")
    return int(count) if count.isdigit() and int(count) > 0 else 1


def _network(model: ModelConfig) -> str:
    """Digest of a network's settings; all seeds of a cell share one object."""
    known = _networks.get(id(model))
    if known is None or known[0] is not model:
        known = _networks[id(model)] = (model, digest(asdict(model)))
    return known[1]


def _own(node: Node) -> str:
    settings = [(path, value) for path, value in node.sections.items() if not path.startswith(_GROWN)]
    return hashlib.blake2s(repr(sorted(settings, key=lambda one: one[0])).encode(), digest_size=6).hexdigest()


def _samples(config: RunConfig) -> int | None:
    data = config.data
    if data.source == "synthetic":
        return data.synthetic.n_train
    if data.keep is not None:
        return len(data.keep)
    if data.subset.per_class is None:
        return None
    return data.subset.per_class * max(1, len(data.subset.classes or data.class_names or ()))
