"""Yardsticks under one seed and one order of batches: rows are left out by a weight of zero in the loss."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from analysis.attribution.decomposition import top_scores
from analysis.attribution.replay import Replay
from analysis.attribution.retraining import linear_datamodeling_score, noise_ceiling, random_subsets
from analysis.attribution.smoothness import step_agreement
from analysis.resampling import mean_interval
from pipeline.data.datamodule import DataModule
from pipeline.engine.build import Build
from pipeline.machine.arithmetic import arithmetic
from pipeline.stages.kernel.read import KernelSide
from pipeline.stages.reruns.read import read_reruns
from pipeline.stages.retraining.read import (
    OMITTED,
    SMOOTHNESS,
    STEP_PARTS,
    STEP_SHARE,
    TOP_OMITTED,
    OmittedRow,
    TopOmittedRow,
)
from pipeline.training.kept_files import KeptFiles
from pipeline.training.outcomes import log_odds_of
from pipeline.training.replaying import double_inputs, open_replay

STEPS = (0.01, 0.1, 0.5, 1.0)
"""By how much the weights of a part fall, where the derivative is compared with training."""
ONE, MANY = "one seed", "over seeds"


def omitted_scores(build: Build, scores: dict[str, np.ndarray], side: KernelSide) -> dict[str, Any]:
    """Score every method against trainings without random parts: of the run's own seed, and the mean over seeds."""
    config, choice = build.config, build.config.retraining
    rows: list[OmittedRow] = []
    for share in choice.omitted:
        own = read_reruns(build.inputs[f"reruns {config.seed}"], share)
        every = [read_reruns(build.inputs[f"reruns {seed}"], share) for seed in range(choice.seeds)]
        kept = ~own[0]
        margins = np.stack([one[1] for one in every], axis=1)
        targets = {ONE: own[1], MANY: margins.mean(1)} if choice.seeds > 1 else {ONE: own[1]}
        for target, values in targets.items():
            found = {
                name: linear_datamodeling_score(
                    one, kept, values, rng=np.random.default_rng([choice.seed, 4]), draws=choice.draws
                )
                for name, one in scores.items()
            }
            if target == MANY:
                rng = np.random.default_rng([choice.seed, 5])
                found["ceiling"] = noise_ceiling(margins, rng=rng, draws=choice.draws)
            rows += [
                {
                    "method": name,
                    "share": share,
                    "target": target,
                    "mean": float(one.mean.estimate),
                    "low": float(one.mean.low),
                    "high": float(one.mean.high),
                    "points": len(one.per_point),
                }
                for name, one in found.items()
            ]
    build.write_rows(OMITTED, rows)
    best = {f"{row['share']:g} {row['target']} {row['method']}": row["mean"] for row in rows}
    return {"omitted": best, "omissions": choice.omissions}


def replayed(
    build: Build, data: DataModule, scores: dict[str, np.ndarray], train: KernelSide, split: str, side: KernelSide
) -> dict[str, Any]:
    """Train again without each test point's strongest supporters, and with finite steps along MAGIC's derivative."""
    config, choice = build.config, build.config.retraining
    keep, metrics = KeptFiles(build.scratch / "replayed"), {}
    with arithmetic(config.numerics) as device:
        replay = open_replay(config, data, build.inputs.get("pretrained"), device)
        points = data.kernel_inputs(split, config.kernel.n_test)
        inputs, labels = double_inputs(points.inputs, data.kind), points.labels.to(device)
        places = data.places("train", torch.from_numpy(train.ids))

        def log_odds(masks: np.ndarray, steps: np.ndarray, name: str) -> np.ndarray:
            """Of the true class of every test point, when the weights of each mask's points fall by a step."""
            found = []
            for number, rows in enumerate(np.array_split(np.arange(len(masks)), -(-len(masks) // replay.together))):
                held = keep.load(f"{name}-{number}")
                if held is None:
                    weights = _weights(replay, places, masks[rows], steps[rows])
                    with torch.no_grad():
                        ends = replay.run_together(weights)
                        values = torch.stack([log_odds_of(replay.outputs(one, inputs), labels) for one in ends])
                    held = {"log_odds": values}
                    keep.save(f"{name}-{number}", held)
                found.append(held["log_odds"].cpu().numpy())
            return np.concatenate(found)

        if "magic" in scores:
            rng = np.random.default_rng([choice.seed, 6])
            fewer = max(1, round(STEP_SHARE * len(train.ids)))
            parts = ~random_subsets(len(train.ids), STEP_PARTS, rng, fraction=1 - fewer / len(train.ids))
            masks = np.concatenate([np.zeros((1, len(train.ids)), bool), *[parts] * len(STEPS)])
            values = log_odds(masks, np.repeat([0.0, *STEPS], [1, *[STEP_PARTS] * len(STEPS)]), "steps")
            changes = (values[1:] - values[0]).reshape(len(STEPS), STEP_PARTS, -1)
            found = step_agreement(scores["magic"], parts, changes, STEPS)
            build.write_rows(SMOOTHNESS, found)
            for row in found:
                build.say(
                    f"magic: a step of {row.step:g} in the weights of {parts[0].sum()} rows does what the derivative "
                    f"says to a relative error of {row.error:.2g} (correlation {row.correlation:.3f})"
                )
            metrics["smoothness"] = {f"{row.step:g}": row.error for row in found}
        if choice.top:
            metrics["top_omitted"] = _top_omitted(build, scores, side, log_odds)
    return metrics


def _top_omitted(build: Build, scores: dict[str, np.ndarray], side: KernelSide, log_odds: Any) -> dict[str, float]:
    choice = build.config.retraining
    rng = np.random.default_rng([choice.seed, 7])
    shown = np.sort(rng.choice(len(side.ids), min(choice.points, len(side.ids)), replace=False))
    count = next(iter(scores.values())).shape[1]
    k = max(1, round(choice.top * count))
    build.say(
        f"without the strongest {k} supporters of each of {len(shown)} test points, by {len(scores)} methods: "
        f"{len(scores) * len(shown)} trainings"
    )
    masks = np.zeros((1 + len(scores) * len(shown), count), bool)
    for number, values in enumerate(scores.values()):
        for place, row in enumerate(top_scores(values[shown], k).indices):
            masks[1 + number * len(shown) + place, row] = True
    values = log_odds(masks, np.ones(len(masks)), "top")
    losses = np.logaddexp(0, -values)[:, shown]  # -log p of the true class, from its log-odds
    after = losses[1:].reshape(len(scores), len(shown), len(shown))
    rows: list[TopOmittedRow] = []
    for name, one in zip(scores, after, strict=True):
        rise = mean_interval(np.diagonal(one) - losses[0])
        rows.append(
            {
                "method": name,
                "rise": float(rise.estimate),
                "low": float(rise.low),
                "high": float(rise.high),
                "points": len(shown),
                "omitted": k,
            }
        )
    build.write_rows(TOP_OMITTED, rows)
    return {row["method"]: row["rise"] for row in rows}


def _weights(replay: Replay, places: torch.Tensor, masks: np.ndarray, steps: np.ndarray) -> torch.Tensor:
    weights = replay.start.new_ones(len(masks), replay.rows)
    weights[:, places] -= torch.from_numpy(masks * steps[:, None]).to(weights)
    return weights
