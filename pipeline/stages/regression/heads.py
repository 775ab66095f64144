"""Refit the output layer on stored features: the network's own head against converged logistic fits."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import special

from analysis.regression.logistic import fit_feature_logistic, logistic_path
from pipeline.engine.build import Build
from pipeline.errors import UserError
from pipeline.stages.features.read import read_feature_tensors
from pipeline.stages.regression.read import HeadRow

PENALTIES = (1e3, 1e2, 1e1, 1.0, 1e-1)
FOLDS = 5


def refitted_heads(build: Build) -> tuple[list[HeadRow], dict[str, Any]]:
    """Fit logistic heads on the penultimate features of several training sizes, penalty chosen inside the rows.

    Features are scaled by the training rows' standard deviation and carry an unpenalized column of ones.

    Returns
    -------
    rows : list of HeadRow
        One for each size and redraw, and the network's own head once (size 0).
    metrics : dict

    Raises
    ------
    UserError
        If the features lack the penultimate layer or do not have two classes.
    """
    config, upstream = build.config, build.inputs["features"]
    splits = config.features.splits
    if "penultimate" not in upstream.metrics["layers"] or len(splits) < 2:
        raise UserError("refitted heads need features.layers=[penultimate] and two splits in features.splits.")
    if upstream.metrics["classes"] != 2:
        raise UserError(
            f"refitted heads are for two classes; data={config.data.name} has {upstream.metrics['classes']}."
        )
    arrays = read_feature_tensors(upstream)
    x, t = (arrays[f"{split}.penultimate"].double().numpy() for split in splits[:2])
    y, s = (arrays[f"{split}.labels"].numpy() for split in splits[:2])
    logits = arrays[f"{splits[1]}.logits"].double().numpy()
    rows = [HeadRow(0, 0, np.nan, True, **_scores(logits[:, 1] - logits[:, 0], s))]
    everything = len(y)
    sizes = [size for size in config.regression.sizes if size < everything]
    plan = [(size, redraw) for size in sizes for redraw in range(config.regression.redraws)] + [(everything, 0)]
    for size, redraw in plan:
        generator = np.random.default_rng([config.regression.seed, size, redraw])
        chosen = generator.permutation(everything)[:size]
        if np.unique(y[chosen]).size < 2:
            build.say(f"{size} rows, draw {redraw}: one class only, left out")
            continue
        odds, penalty, converged = _fit(x[chosen], y[chosen], t, generator)
        rows.append(HeadRow(size, redraw, penalty, converged, **_scores(odds, s)))
    build.say(f"{len(rows) - 1} heads refitted")
    own, last = rows[0], rows[-1]
    metrics = {"task": "head", "n_train": everything, "n_test": len(s), "width": x.shape[1]}
    metrics |= {f"head_{key}": getattr(own, key) for key in ("accuracy", "balanced_accuracy", "cross_entropy")}
    metrics |= {f"refit_{key}": getattr(last, key) for key in ("accuracy", "balanced_accuracy", "cross_entropy")}
    return rows, metrics


def _fit(
    x: np.ndarray, y: np.ndarray, queries: np.ndarray, generator: np.random.Generator
) -> tuple[np.ndarray, float, bool]:
    mean, scale = x.mean(axis=0), x.std(axis=0)
    scale = np.where(scale > 1e-12, scale, 1.0)
    design, points = (np.column_stack([(rows - mean) / scale, np.ones(len(rows))]) for rows in (x, queries))
    free = np.arange(design.shape[1]) == design.shape[1] - 1
    folds = generator.permutation(np.arange(len(y)) % FOLDS)
    loss = np.zeros(len(PENALTIES))
    for fold in range(FOLDS):
        out = folds == fold
        if np.unique(y[~out]).size < 2:
            continue
        path = logistic_path(design[~out], y[~out], PENALTIES, free=free, tolerance=1e-6)
        for i, fit in enumerate(path):
            signs = np.where(y[out] > 0, 1.0, -1.0)
            loss[i] += np.logaddexp(0.0, -signs * fit.log_odds(design[out])).sum()
    penalty = PENALTIES[int(loss.argmin())]
    fit = fit_feature_logistic(design, y, penalty=penalty, free=free)
    return fit.log_odds(points), penalty, fit.converged


def _scores(odds: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    signs = np.where(labels > 0, 1.0, -1.0)
    guess = odds > 0
    recalls = [float(np.mean(guess[labels == value] == value)) for value in (0, 1) if (labels == value).any()]
    return {
        "accuracy": float(np.mean(guess == (labels > 0))),
        "balanced_accuracy": sum(recalls) / len(recalls),
        "cross_entropy": float(np.mean(-special.log_expit(signs * odds))),
    }
