"""Stage ``derivatives``: the true class's probability at test rows, by the weight of each row in the training.

One artifact for each seed, so that every share of points that is left out later, and every other number of seeds, uses
the same ones.
"""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import Tensor

from pipeline.data.datamodule import open_data
from pipeline.engine.build import Build
from pipeline.errors import UserError
from pipeline.machine.arithmetic import arithmetic
from pipeline.machine.progress import note_progress
from pipeline.stages.derivatives.read import DERIVATIVES
from pipeline.training.foresight import refuse_unfit_network
from pipeline.training.kept_files import KeptFiles
from pipeline.training.outcomes import class_shares
from pipeline.training.replaying import double_inputs, open_replay


def derivatives(build: Build) -> dict[str, Any]:
    """Differentiate through the whole training; states and adjoints are kept, so that a kill costs one segment.

    Writes ``derivatives.safetensors``: ``values`` (m,) and ``slopes`` (m, n) of the rows of the first test split (at
    most ``kernel.n_test``) by all training rows; ``train.ids`` and ``test.ids``.
    """
    config = build.config
    data = open_data(config, build.inputs["data"])
    refuse_unfit_network(build, data)
    if not data.n_classes:
        raise UserError("stage=derivatives differentiates decisions between classes; this is a regression task.")
    points = data.kernel_inputs(config.kernel.test_splits[0], config.kernel.n_test)
    inputs = double_inputs(points.inputs, data.kind)
    with arithmetic(config.numerics) as device:
        replay = open_replay(config, data, build.inputs.get("pretrained"), device)
        labels = points.labels.to(device)[:, None]

        def measure(weights: Tensor) -> Tensor:
            return class_shares(replay.outputs(weights, inputs)).gather(1, labels)[:, 0]

        build.say(f"{replay.plan(len(labels), time.monotonic)}; finished segments survive a kill")
        states, total = KeptFiles(build.scratch / "states"), len(replay)

        def tell(left: int) -> None:
            note_progress(build.scratch, total - left, total, f"step {left}/{total}, backwards", None)

        try:
            slopes = replay.derivative(measure, states, tell)
        except ValueError as error:
            raise UserError(f"stage=derivatives: {error} (training.lr={config.training.lr:g}).") from error
        last = states.load(f"state{total}")
        assert last is not None
        with torch.no_grad():
            values = measure(last["part0"].to(device))
    arrays = {"values": values, "slopes": slopes, "train.ids": data.ids("train"), "test.ids": points.ids}
    build.write_tensors(DERIVATIVES, arrays)
    return {"n_train": slopes.shape[1], "n_test": len(slopes), "steps": total}
