"""Stage ``surrogate``: fit a kernel machine that imitates the network and measure how faithful it is."""

from __future__ import annotations

from typing import Any

import numpy as np

from analysis.checks import shared_points
from analysis.surrogates.faithfulness import Measure, measure_faithfulness
from analysis.surrogates.glm import KernelGLM
from analysis.surrogates.glm_cv import KernelGLMCV
from analysis.surrogates.neighbors import KernelNeighbors
from pipeline.config.run import RunConfig
from pipeline.engine.artifacts import finite_or_none
from pipeline.engine.build import Build
from pipeline.stages.kernel.read import KernelSide, read_kernel_sides
from pipeline.stages.surrogate.machine import Surrogate, fit_surrogate, make_surrogate
from pipeline.stages.surrogate.published import compare_with_published, published_taus
from pipeline.stages.surrogate.read import COEFFICIENTS, FAITHFULNESS, PREDICTIONS, PUBLISHED

HEADLINE = {
    "network_accuracy": ("accuracy", "network"),
    "surrogate_accuracy": ("accuracy", "surrogate"),
    "tad": ("tad", ""),
    "tau": ("kendall", "correct"),
    "spearman": ("spearman", "correct"),
    "r2": ("r2", "correct"),
    "r_miss": ("r_miss", "nn"),
    "r_miss_jaccard": ("r_miss", "jaccard"),
    "agreement": ("agreement", ""),
}
"""Metric names of the stage, each with the row (metric, variant) of the faithfulness table that it repeats."""


def surrogate(build: Build) -> dict[str, Any]:
    """Fit the surrogate on the kernel's training points and compare it with the network on every test split.

    Writes ``faithfulness.parquet`` (one row for each measure, variant and split, with bootstrap intervals over test
    points), ``predictions.safetensors`` (``SPLIT.surrogate`` and ``SPLIT.network`` log-scores, ids, labels),
    ``coefficients.safetensors`` (``weights`` (C, n), ``offsets`` (C,)) where the machine is linear in κ, and
    ``published.parquet`` under ``surrogate.protocol=published``.
    """
    config = build.config
    train, tests = read_kernel_sides(build)
    model, warned = fit_surrogate(make_surrogate(config), train, config)
    for line in warned:
        build.say(line)
    rows: list[Measure] = []
    arrays: dict[str, np.ndarray] = {}
    for index, (split, side) in enumerate((("train", train), *tests.items())):
        scores = model.log_scores(side.kernel)
        arrays |= {f"{split}.surrogate": scores, f"{split}.network": side.network}
        arrays |= {f"{split}.ids": side.ids, f"{split}.labels": side.labels}
        if split == "train":
            continue
        rng = np.random.default_rng([config.surrogate.seed, index])
        everything = {split: np.ones(len(side.labels), bool)}
        rows += measure_faithfulness(
            side.network,
            scores,
            side.labels,
            subsets=everything,
            n_resamples=config.surrogate.draws,
            rng=rng,
        )
    build.write_rows(FAITHFULNESS, rows)
    build.write_arrays(PREDICTIONS, arrays)
    if not isinstance(model, KernelNeighbors):
        build.write_arrays(COEFFICIENTS, {"weights": model.weights_, "offsets": model.offsets_})
    if config.surrogate.protocol == "published":
        build.write_rows(PUBLISHED, compare_with_published(config, train, next(iter(tests.values())), model))
    predicted = {split: arrays[f"{split}.surrogate"] for split in tests}
    return _metrics(config, model, warned, train, tests, predicted, rows)


def _metrics(
    config: RunConfig,
    model: Surrogate,
    warned: list[str],
    train: KernelSide,
    tests: dict[str, KernelSide],
    scores: dict[str, np.ndarray],
    rows: list[Measure],
) -> dict[str, Any]:
    first = next(iter(tests))
    table = {(row.subset, row.metric, row.variant): row for row in rows}
    metrics: dict[str, Any] = {
        "kind": config.surrogate.kind,
        "n_train": len(train.labels),
        "n_test": {split: len(side.labels) for split, side in tests.items()},
        "test_in_train": {split: len(shared_points(train.ids, side.ids)[0]) for split, side in tests.items()},
        "warnings": warned,
    }
    if isinstance(model, KernelGLM) and model.report_ is not None:
        report = model.report_
        metrics["fit"] = {
            "alpha": model.alpha_ if isinstance(model, KernelGLMCV) else model.alpha,
            "converged": report.converged,
            "newton_steps": report.n_iter,
            "kernel_passes": report.kernel_passes,
            "gradient_norm": report.gradient_norm,
            "loss_gap": finite_or_none(report.gap),
        }
    for split, side in tests.items():
        prefix = "" if split == first else f"{split}_"
        for name, (metric, variant) in HEADLINE.items():
            metrics[prefix + name] = finite_or_none(table[split, metric, variant].value)
        for name, found in published_taus(config.surrogate.kind, side.network, scores[split]).items():
            metrics[prefix + name] = finite_or_none(found.tau)
    return metrics
