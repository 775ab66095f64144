"""Stage ``spread``: the derivative of the variance over seeds by row weights, and training without the top rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from analysis.attribution.spread import pairwise_churn, spread_scores
from pipeline.data.datamodule import open_data
from pipeline.engine.build import Build
from pipeline.engine.cells import with_seed
from pipeline.machine.arithmetic import arithmetic
from pipeline.machine.progress import note_progress
from pipeline.stages.derivatives.read import read_derivatives
from pipeline.stages.spread.foreseen import points_left_out
from pipeline.stages.spread.read import ARRAYS, SETS, SetRow
from pipeline.training.kept_files import KeptFiles
from pipeline.training.outcomes import class_shares
from pipeline.training.replaying import double_inputs, open_replay


def spread(build: Build) -> dict[str, Any]:
    """Take the derivative of the variance over some seeds, and train others without the points that raise it most.

    The measure is the probability of the true class of each row of the first test split (at most ``kernel.n_test``).
    Writes ``sets.parquet`` (churn, variance and accuracy of the judging seeds without ``nothing``, the ``top`` and
    ``bottom`` points and each random set) and ``spread.safetensors`` (``scores`` (n,), ``train.ids``, values and
    decisions by seed). The derivatives are artifacts of their own, and every finished judge is kept in scratch.
    """
    config, choice = build.config, build.config.spread
    data = open_data(config, build.inputs["data"])
    points = data.kernel_inputs(config.kernel.test_splits[0], config.kernel.n_test)
    inputs = double_inputs(points.inputs, data.kind)
    keep = KeptFiles(build.scratch / "spread")
    each = [read_derivatives(build.inputs[f"derivatives {seed}"]) for seed in range(choice.seeds)]
    values = np.stack([one for one, _ in each])
    scores = spread_scores(values, np.stack([slopes for _, slopes in each]))
    sets = _sets(scores, points_left_out(choice.share, len(scores)), choice.controls, choice.seed)
    judged: list[np.ndarray] = []
    with arithmetic(config.numerics) as device:
        masks = torch.from_numpy(np.stack(list(sets.values())))
        build.say(
            f"{choice.judges} other seeds without each of {len(sets)} sets of {int(masks[1].sum())} points: "
            f"{choice.judges * len(sets)} trainings; finished seeds survive a kill"
        )
        for seed in range(choice.seeds, choice.seeds + choice.judges):
            held = keep.load(f"judge{seed}")
            if held is None:
                replay = open_replay(with_seed(config, seed), data, build.inputs.get("pretrained"), device)
                with torch.no_grad():
                    ends = replay.run_together(1 - masks.to(replay.start))
                    shares = torch.stack([class_shares(replay.outputs(one, inputs)) for one in ends])
                held = {"shares": shares}
                keep.save(f"judge{seed}", held)
            judged.append(held["shares"].cpu().numpy())
            note_progress(build.scratch, len(judged), choice.judges, f"seed {seed}", None)
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
        "values": values,
        "sets": masks.numpy().astype(np.uint8),
        "decisions": decisions,
    }
    build.write_arrays(ARRAYS, arrays)
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


def _sets(scores: np.ndarray, k: int, controls: int, seed: int) -> dict[str, np.ndarray]:
    """Masks of the points that are left out: none, those that raise the variance most or least, and random ones."""
    n = len(scores)
    order = np.argsort(-scores, kind="stable")
    rng = np.random.default_rng(seed)
    chosen = {"nothing": [], "top": order[:k], "bottom": order[-k:]}
    chosen |= {f"random {i + 1}": rng.choice(n, k, replace=False) for i in range(controls)}
    masks = {}
    for name, rows in chosen.items():
        masks[name] = np.zeros(n, bool)
        masks[name][np.asarray(rows, int)] = True
    return masks
