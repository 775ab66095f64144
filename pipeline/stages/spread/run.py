"""Stage ``spread``: the derivative of the variance over seeds by row weights, and training without the top rows."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from torch import Tensor

from analysis.attribution.spread import pairwise_churn, spread_scores
from pipeline.data.datamodule import open_data
from pipeline.engine.build import Build
from pipeline.engine.cells import with_seed
from pipeline.errors import UserError
from pipeline.machine.arithmetic import arithmetic
from pipeline.machine.progress import note_progress
from pipeline.stages.spread.read import ARRAYS, SETS, SetRow
from pipeline.training.kept_files import KeptFiles
from pipeline.training.replaying import double_inputs, open_replay


def spread(build: Build) -> dict[str, Any]:
    """Differentiate the variance over some seeds, and train other seeds without the points that raise it most.

    The measure is the probability of the true class of each row of the first test split (at most ``kernel.n_test``).
    Writes ``sets.parquet`` (churn, variance and accuracy of the judging seeds without ``nothing``, the ``top`` and
    ``bottom`` points and each random set) and ``spread.safetensors`` (``scores`` (n,), ``train.ids``, values and
    decisions by seed). Every finished seed is kept in scratch.
    """
    config, choice = build.config, build.config.spread
    data = open_data(config, build.inputs["data"])
    if not data.n_classes:
        raise UserError("stage=spread measures decisions between classes; this is a regression task.")
    points = data.kernel_inputs(config.kernel.test_splits[0], config.kernel.n_test)
    inputs, labels = double_inputs(points.inputs, data.kind), points.labels
    keep = KeptFiles(build.scratch / "spread")
    values: list[np.ndarray] = []
    slopes: list[np.ndarray] = []
    judged: list[np.ndarray] = []
    with arithmetic(config.numerics) as device:
        labels = labels.to(device)
        for seed in range(choice.seeds):
            held = keep.load(f"seed{seed}")
            if held is None:
                replay = open_replay(with_seed(config, seed), data, build.inputs.get("pretrained"), device)
                if seed == 0:
                    plan = replay.plan(len(labels), time.monotonic)
                    build.say(f"{choice.seeds} seeds, each: {plan}; finished seeds and segments survive a kill")

                def measure(weights: Tensor, replay=replay) -> Tensor:  # type: ignore[no-untyped-def]
                    return _probabilities(replay.outputs(weights, inputs)).gather(1, labels[:, None])[:, 0]

                states = KeptFiles(build.scratch / f"states{seed}")
                found = replay.derivative(measure, states)
                last = states.load(f"state{len(replay)}")
                assert last is not None
                with torch.no_grad():
                    held = {"values": measure(last["part0"].to(device)), "slopes": found}
                keep.save(f"seed{seed}", held)
                states.clear()
            values.append(held["values"].cpu().numpy())
            slopes.append(held["slopes"].cpu().numpy())
            note_progress(build.scratch, seed + 1, choice.seeds + choice.judges, f"seed {seed}", None)
        scores = spread_scores(np.stack(values), np.stack(slopes))
        sets = _sets(scores, choice.share, choice.controls, choice.seed)
        masks = torch.from_numpy(np.stack(list(sets.values())))
        build.say(f"{choice.judges} other seeds without each of {len(sets)} sets of {int(masks[1].sum())} points")
        for seed in range(choice.seeds, choice.seeds + choice.judges):
            held = keep.load(f"judge{seed}")
            if held is None:
                replay = open_replay(with_seed(config, seed), data, build.inputs.get("pretrained"), device)
                with torch.no_grad():
                    ends = replay.run_together(1 - masks.to(replay.start))
                    shares = torch.stack([_probabilities(replay.outputs(one, inputs)) for one in ends])
                held = {"shares": shares}
                keep.save(f"judge{seed}", held)
            judged.append(held["shares"].cpu().numpy())
            note_progress(build.scratch, seed + 1, choice.seeds + choice.judges, f"seed {seed}", None)
    answers = np.stack(judged)  # (judge, set, point, class)
    decisions, true = answers.argmax(3), points.labels.numpy()
    own: np.ndarray = np.take_along_axis(answers, true[None, None, :, None], 3)[..., 0]
    rows: list[SetRow] = [
        {
            "set": name,
            "churn": pairwise_churn(decisions[:, number]),
            "variance": float(own[:, number].var(0, ddof=1).mean()),
            "accuracy": float((decisions[:, number] == true).mean()),
        }
        for number, name in enumerate(sets)
    ]
    build.write_rows(SETS, rows)
    arrays: dict[str, np.ndarray] = {
        "scores": scores,
        "train.ids": data.ids("train").numpy(),
        "values": np.stack(values),
    }
    build.write_arrays(
        ARRAYS, arrays | {"values": np.stack(values), "sets": masks.numpy().astype(np.uint8), "decisions": decisions}
    )
    controls = [row for row in rows if row["set"].startswith("random")]
    return {
        "churn": {row["set"]: row["churn"] for row in rows[:3]}
        | {"random": float(np.mean([row["churn"] for row in controls]))},
        "variance": {row["set"]: row["variance"] for row in rows[:3]}
        | {"random": float(np.mean([row["variance"] for row in controls]))},
        "left_out": int(masks[1].sum()),
        "n_train": len(scores),
        "n_test": len(true),
        "seeds": choice.seeds,
        "judges": choice.judges,
    }


def _probabilities(logits: Tensor) -> Tensor:
    both = torch.cat([-logits, torch.zeros_like(logits)], 1) if logits.shape[1] == 1 else logits
    return both.softmax(1)


def _sets(scores: np.ndarray, share: float, controls: int, seed: int) -> dict[str, np.ndarray]:
    """Masks of the points that are left out: none, those that raise the variance most or least, and random ones."""
    n = len(scores)
    k = max(1, round(share * n))
    if k >= n:
        raise UserError(f"spread.share={share:g} leaves out all {n} training points; choose a smaller share.")
    order = np.argsort(-scores, kind="stable")
    rng = np.random.default_rng(seed)
    chosen = {"nothing": [], "top": order[:k], "bottom": order[-k:]}
    chosen |= {f"random {i + 1}": rng.choice(n, k, replace=False) for i in range(controls)}
    masks = {}
    for name, rows in chosen.items():
        masks[name] = np.zeros(n, bool)
        masks[name][np.asarray(rows, int)] = True
    return masks
