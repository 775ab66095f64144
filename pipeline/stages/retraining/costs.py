"""What each method of attribution took, against one training of the run: kept in ``logs``, since times never repeat."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from analysis.attribution.replay import Replay
from pipeline.engine.artifacts import Artifact, write_json

_NAME = "costs.json"


def seconds_of_training(replay: Replay | None) -> float | None:
    """Processor time of the run's training, repeated once; None where no method repeats it."""
    if replay is None:
        return None
    begin = time.process_time()
    replay.run(replay.start.new_ones(replay.rows))
    return time.process_time() - begin


@dataclass
class Costs:
    """Seconds of one processor, and what a method needs besides.

    Attributes
    ----------
    training : float or None
        Of one training of the run's network, repeated in float64; None where it cannot be repeated.
    methods : dict of str to float
        Of the scores of each method.
    trainings : dict of str to int
        Further trainings that a method needs.

    Examples
    --------
    >>> costs = Costs(training=2.0, methods={"trak": 1.0, "same_label": 0.0}, trainings={"trak": 4})
    >>> costs.multiples()
    {'trak': 4.5, 'same_label': 0.0}
    """

    training: float | None = None
    methods: dict[str, float] = field(default_factory=dict)
    trainings: dict[str, int] = field(default_factory=dict)

    def timed(self, name: str, compute: Callable[[], np.ndarray]) -> np.ndarray:
        """Compute scores and note what they took."""
        begin = time.process_time()
        found = compute()
        self.methods[name] = time.process_time() - begin
        return found

    def multiples(self) -> dict[str, float]:
        """Cost of each method in multiples of one training; empty where that is not known."""
        if not self.training:
            return {}
        return {name: self.trainings.get(name, 0) + took / self.training for name, took in self.methods.items()}

    def write(self, scratch: Path) -> None:
        """Keep for the end of the stage."""
        write_json(scratch / _NAME, vars(self))


def log_costs(scratch: Path, logs: Path) -> None:
    """Put beside the artifact what the scores took; scores of an earlier version were not timed."""
    if (scratch / _NAME).exists():
        shutil.copyfile(scratch / _NAME, logs / _NAME)


def read_costs(retraining: Artifact) -> Costs | None:
    """Read what the scores of a retraining took; None where that is not known, as after a kill."""
    path = retraining.folder / "logs" / _NAME
    if not path.exists() or retraining.provenance.get("continued"):
        return None
    return Costs(**json.loads(path.read_text(encoding="utf-8")))
