"""Stage ``reruns``: what test rows are answered after the same training without some rows.

A row is left out by a weight of zero: start, batches and learning rates stay, so that only the row makes the
difference. Leaving it out of the data (``data.drop``) would deal all other rows into new batches.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch

from analysis.attribution.retraining import random_subsets
from pipeline.data.datamodule import open_data
from pipeline.engine.build import Build
from pipeline.errors import UserError
from pipeline.machine.arithmetic import arithmetic
from pipeline.machine.progress import note_progress
from pipeline.stages.reruns.read import RERUNS, left_out, log_odds_name
from pipeline.training.kept_files import KeptFiles
from pipeline.training.outcomes import log_odds_of, require_finite_outcomes
from pipeline.training.replaying import TOGETHER, double_inputs, open_replay


def reruns(build: Build) -> dict[str, Any]:
    """Train again without each part; networks of one pass are kept in scratch, so that a kill costs one pass.

    Writes ``reruns.safetensors``: for each of ``retraining.omitted``, ``left_out.SHARE`` (parts, n) over the kernel's
    training points and ``log_odds.SHARE`` (parts, m) of the true class on the first test split; ``log_odds`` (m,) with
    all rows; ``train.ids`` and ``test.ids``.
    """
    config, choice = build.config, build.config.retraining
    data = open_data(config, build.inputs["data"])
    if not data.n_classes:
        raise UserError("stage=reruns measures log-odds of classes; this is a regression task.")
    split = config.kernel.test_splits[0]
    train, test = data.kernel_inputs("train", config.kernel.n_train), data.kernel_inputs(split, config.kernel.n_test)
    places = data.places("train", train.ids)
    arrays: dict[str, np.ndarray] = {"train.ids": train.ids.numpy(), "test.ids": test.ids.numpy()}
    parts = []
    for number, share in enumerate(choice.omitted):
        rng = np.random.default_rng([choice.seed, 10, number, round(1e6 * share)])
        try:
            fewer = max(1, round(share * len(train.ids)))
            masks = ~random_subsets(len(train.ids), choice.omissions, rng, fraction=1 - fewer / len(train.ids))
        except ValueError as error:
            raise UserError(f"retraining.omitted={share:g} of {len(train.ids)} points: {error}") from error
        arrays[left_out(share)] = masks.astype(np.uint8)
        parts.append(masks)
    with arithmetic(config.numerics) as device:
        replay = open_replay(config, data, build.inputs.get("pretrained"), device)
        keep = KeptFiles(build.scratch / "reruns")
        weights = torch.ones(1 + sum(map(len, parts)), replay.rows, dtype=torch.float64, device=device)
        weights[1:, places] -= torch.from_numpy(np.concatenate(parts)).to(weights)
        inputs = double_inputs(test.inputs, data.kind)
        labels = test.labels.to(device)
        build.say(f"{len(weights)} trainings of {len(replay)} steps, {replay.together} together; a kill costs one pass")
        found, begun = [], time.monotonic()
        for number, some in enumerate(weights.split(TOGETHER)):
            held = keep.load(str(number))
            if held is None:
                with torch.no_grad():
                    ends = replay.run_together(some)
                    held = {"log_odds": torch.stack([log_odds_of(replay.outputs(one, inputs), labels) for one in ends])}
                keep.save(str(number), held)
            found.append(held["log_odds"].cpu())
            done = min(len(weights), (number + 1) * TOGETHER)
            left = (time.monotonic() - begun) / done * (len(weights) - done)
            note_progress(build.scratch, done, len(weights), f"network {done}/{len(weights)}", left)
    values = torch.cat(found).numpy()
    require_finite_outcomes(values, "trainings without some rows")
    arrays["log_odds"] = values[0]
    start = 1
    for share, masks in zip(choice.omitted, parts, strict=True):
        arrays[log_odds_name(share)] = values[start : start + len(masks)]
        start += len(masks)
    build.write_arrays(RERUNS, arrays)
    return {"networks": len(values), "n_train": len(train.ids), "n_test": len(test.ids), "steps": len(replay)}
