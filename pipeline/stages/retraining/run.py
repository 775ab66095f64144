"""Stage ``retraining``: the effect of training without some points, compared with what attributions predict.

Every retraining is a ``train`` artifact whose ``data.keep`` or ``data.drop`` names its rows: cells that ask for the
same rows share it, and a killed stage resumes where it stopped. Where several artifacts are made at the same time,
the workers share the retrainings: the stage asks for them, waits, and is begun again when they are there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from analysis.attribution.leave_out import leave_out_effects, leave_out_sets
from analysis.attribution.retraining import linear_datamodeling_score, noise_ceiling, random_subsets
from analysis.surrogates.faithfulness import log_odds
from kernels.machine.tensor_files import save_arrays
from pipeline.config.retraining import RetrainingConfig
from pipeline.config.run import RunConfig
from pipeline.data.datamodule import DataModule, open_data
from pipeline.engine.artifacts import finite_or_none
from pipeline.engine.build import Build
from pipeline.engine.cells import with_seed
from pipeline.engine.executor import Puller
from pipeline.engine.graph import Node
from pipeline.errors import UserError
from pipeline.machine.arithmetic import arithmetic
from pipeline.machine.progress import note_progress
from pipeline.machine.sealed_files import is_sound, replace_sealed
from pipeline.stages.attribution.methods import open_attributor
from pipeline.stages.kernel.read import KernelSide, read_kernel_sides
from pipeline.stages.retraining.costs import Costs, log_costs, seconds_of_training
from pipeline.stages.retraining.omitted import omitted_scores, replayed
from pipeline.stages.retraining.read import ARRAYS, DATAMODELING, LEAVE_OUT, DatamodelingRow, LeaveOutRow
from pipeline.stages.surrogate.read import read_coefficients
from pipeline.stages.train.read import outputs_at, read_network_outputs
from pipeline.training.outcomes import require_finite_outcomes

_SCORES = "scores.safetensors"


def retraining(build: Build) -> dict[str, Any]:
    """Score attributions of the true class on the first test split by retraining.

    Writes ``lds.parquet`` (one row per method: the linear datamodeling score with its interval over parts and test
    points), ``leave_out.parquet`` (one row per dropped set: the margin's change and the share of flipped decisions) and
    ``retraining.safetensors`` (subsets, margins, scores by test point). Margins are the log-odds of the true class.
    """
    config, choice = build.config, build.config.retraining
    train, tests = read_kernel_sides(build)
    split, side = next(iter(tests.items()))
    data = open_data(config, build.inputs["data"])
    margins = _Margins(build, split, side)
    others = np.setdiff1d(data.ids("train").numpy(), train.ids)
    masks = _parts(choice, len(train.ids))
    scores = _kept_scores(build, lambda: _scores(build, data, train, split, side))
    margins.need("keep", [np.concatenate([train.ids[mask], others]) for mask in masks])
    arrays: dict[str, np.ndarray] = {"test.ids": side.ids, "train.ids": train.ids}
    metrics: dict[str, Any] = {"n_train": len(train.ids), "n_test": len(side.ids), "seeds": choice.seeds}
    if choice.subsets:
        metrics |= _datamodeling(build, scores, train, others, masks, margins, arrays)
    if choice.points and choice.k:
        metrics |= _leave_out(build, scores, train, side, margins, arrays)
    if choice.omitted:
        metrics |= omitted_scores(build, scores, side)
    if choice.top or "magic" in scores:
        metrics |= replayed(build, data, scores, train, split, side)
    build.write_arrays(ARRAYS, arrays)
    log_costs(build.scratch, build.logs)
    return metrics | {"method": config.attribution.method, "methods": list(scores)}


class _Margins:
    """Margins of test points under networks trained on other rows, shape (seeds, test points)."""

    def __init__(self, build: Build, split: str, side: KernelSide) -> None:
        self.build, self.split, self.side = build, split, side
        self.puller = Puller(build.store, build.graph, build.config.upstream == "require", rebuild=build.rebuild)
        choice = build.config.retraining
        sets = 1 + (4 + ("embedding" in methods_of(build.config))) * choice.points if choice.points and choice.k else 0
        self.made, self.total = 0, choice.seeds * (choice.subsets + sets)

    def need(self, field: str | None, rows: Sequence[np.ndarray | None]) -> None:
        """Say which networks are needed next: where there are workers, they train them at the same time."""
        seeds = range(self.build.config.retraining.seeds)
        self.build.together([self._node(seed, field, ids) for ids in rows for seed in seeds])

    def of(self, field: str | None, ids: np.ndarray | None) -> np.ndarray:
        """Train under every seed with ``data.keep`` or ``data.drop`` (``field``) at these ids; None: on all rows."""
        return np.stack([self._one(seed, field, ids) for seed in range(self.build.config.retraining.seeds)])

    def _one(self, seed: int, field: str | None, ids: np.ndarray | None) -> np.ndarray:
        note_progress(self.build.scratch, self.made, self.total, f"network {self.made + 1}/{self.total}", None)
        node = self._node(seed, field, ids)
        made = self.puller.make(node)
        self.made += 1
        logits = outputs_at(read_network_outputs(node.config, made), self.split, self.side.ids)
        return log_odds(logits)[np.arange(len(logits)), self.side.labels]

    def _node(self, seed: int, field: str | None, ids: np.ndarray | None) -> Node:
        config = with_seed(self.build.config, seed)
        words: Sequence[str] = (*self.build.node.overrides, f"seed={seed}")
        if field is not None and ids is not None:
            rows = sorted(ids.tolist())
            config = dataclasses.replace(config, data=dataclasses.replace(config.data, **{field: rows}))  # type: ignore[arg-type]
            words = (*words, f"data.{field}=[{','.join(map(str, rows))}]")
        return self.build.own_node("train", config, tuple(words))


def methods_of(config: RunConfig) -> list[str]:
    """Attribution methods of a run, the main one first, each once."""
    return list(dict.fromkeys([config.attribution.method, *config.attribution.methods]))


def _names(config: RunConfig) -> list[str]:
    """Names of the scores that are judged: the methods, and the influences at multiples of their damping."""
    return [*methods_of(config), *(f"{method} λ×{times:g}" for method, times in _sweep(config))]


def _sweep(config: RunConfig) -> list[tuple[str, float]]:
    methods = [one for one in ("influence", "exact_influence", "cg_influence") if one in methods_of(config)]
    return [(method, times) for method in methods for times in config.attribution.damping_sweep]


def _parts(choice: RetrainingConfig, count: int) -> np.ndarray:
    """Random parts of the kernel's training points, as masks."""
    if not choice.subsets:
        return np.zeros((0, count), bool)
    return random_subsets(count, choice.subsets, np.random.default_rng([choice.seed, 0]), fraction=choice.fraction)


def _kept_scores(build: Build, compute: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Give the scores; they are kept in scratch, for the next time that the stage is begun."""
    path = build.scratch / _SCORES
    if is_sound(path):
        kept = load_file(path)
        return {name: kept[name] for name in _names(build.config)}
    scores = compute()
    written = path.with_name(f"{_SCORES}.writing")
    save_arrays({method: np.ascontiguousarray(values) for method, values in scores.items()}, written)
    replace_sealed(written, path)
    return scores


def _scores(build: Build, data: DataModule, train: KernelSide, split: str, side: KernelSide) -> dict[str, np.ndarray]:
    """Attribute the true class of every test point to the kernel's training points by every method."""
    config = build.config
    methods = methods_of(config)
    if read_coefficients(build.inputs["surrogate"])[0] is None and "kernel" in methods:
        raise UserError("surrogate=knn has no weights to attribute; use attribution.method=similarity.")
    with arithmetic(config.numerics) as device:
        attributor = open_attributor(build, data, train, methods, device)
        points = data.kernel_inputs(split, config.kernel.n_test)
        unrolled, others = attributor.unrolled, len(config.attribution.other_seeds)
        costs = Costs(
            seconds_of_training(unrolled.replay if unrolled else None), {}, {"trak": others} if others else {}
        )
        found = {}
        for method in methods:
            build.say(f"method {method}")
            attributor.forget_gradients()
            one = costs.timed(method, partial(attributor.scores, method, side, points, side.labels))
            found[method] = np.asarray(one, np.float64)
        costs.write(build.scratch)
        for method, times in _sweep(config):
            build.say(f"method {method}, {times:g} times its damping")
            found[f"{method} λ×{times:g}"] = attributor.damped(method, points, side.labels, times)
        for line in attributor.curvature.said if attributor.curvature is not None else ():
            build.say(line)
        return found


def _datamodeling(
    build: Build,
    scores: dict[str, np.ndarray],
    train: KernelSide,
    others: np.ndarray,
    masks: np.ndarray,
    margins: _Margins,
    arrays: dict[str, np.ndarray],
) -> dict[str, Any]:
    """Retrain on random parts of the kernel's training points; rows outside the kernel (``others``) are always kept."""
    choice = build.config.retraining
    build.say(f"{choice.subsets} parts of {masks[0].sum()} training rows, {choice.seeds} seeds each")
    retrained = np.stack([margins.of("keep", np.concatenate([train.ids[mask], others])) for mask in masks])
    require_finite_outcomes(retrained, "parts of the training rows, trained on their own,")
    arrays |= {"subsets": masks.astype(np.uint8), "subset_margins": retrained}
    found = {}
    for method, values in scores.items():
        found[method] = linear_datamodeling_score(
            values, masks, retrained.mean(1), rng=np.random.default_rng([choice.seed, 1]), draws=choice.draws
        )
    if choice.seeds > 1:
        found["ceiling"] = noise_ceiling(retrained, rng=np.random.default_rng([choice.seed, 2]), draws=choice.draws)
    arrays |= {f"lds.{name}": one.per_point for name, one in found.items()}
    rows: list[DatamodelingRow] = [
        {
            "method": method,
            "mean": float(one.mean.estimate),
            "low": float(one.mean.low),
            "high": float(one.mean.high),
            "points": len(one.per_point),
        }
        for method, one in found.items()
    ]
    build.write_rows(DATAMODELING, rows)
    return {"lds": {name: float(one.mean.estimate) for name, one in found.items()}, "subsets": choice.subsets}


def _leave_out(
    build: Build,
    scores: dict[str, np.ndarray],
    train: KernelSide,
    side: KernelSide,
    margins: _Margins,
    arrays: dict[str, np.ndarray],
) -> dict[str, Any]:
    """Drop the main method's strongest points of a few test points, one test point at a time, and controls."""
    choice = build.config.retraining
    rng = np.random.default_rng([choice.seed, 3])
    shown = np.sort(rng.choice(len(side.ids), min(choice.points, len(side.ids)), replace=False))
    main = scores[build.config.attribution.method][shown]
    embedding = scores["embedding"][shown] if "embedding" in scores else None
    try:
        sets = leave_out_sets(main, choice.k, train.labels, side.labels[shown], rng, embedding=embedding)
    except ValueError as error:
        raise UserError(f"retraining.k={choice.k}: {error}") from error
    margins.need(None, [None])
    margins.need("drop", [train.ids[row] for members in sets.values() for row in members])
    before = margins.of(None, None)[:, shown]
    after = {}
    for name, members in sets.items():
        build.say(f"without the {name.replace('_', ' ')} {choice.k} points of {len(shown)} test points")
        columns = [margins.of("drop", train.ids[row])[:, shown[place]] for place, row in enumerate(members)]
        after[name] = np.stack(columns, axis=1)
    effects = leave_out_effects(before, after)
    arrays |= {"leave_out.points": side.ids[shown], "leave_out.before": before}
    arrays |= {f"leave_out.{name}": values for name, values in after.items()}
    rows: list[LeaveOutRow] = [
        {
            "set": name,
            "change": float(one.change.estimate),
            "low": float(one.change.low),
            "high": float(one.change.high),
            "flips": finite_or_none(one.flips),
            "points": one.n,
        }
        for name, one in effects.items()
    ]
    build.write_rows(LEAVE_OUT, rows)
    return {"k": choice.k, "leave_out": {name: float(one.change.estimate) for name, one in effects.items()}}
