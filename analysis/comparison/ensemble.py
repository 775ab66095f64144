"""The ensemble of several runs, the mean of their probabilities, against the runs themselves."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from analysis.classifier_metrics import (
    brier_score,
    calibration_error,
    decisions,
    label_probabilities,
    negative_log_likelihood,
    top_label_confidence,
)
from analysis.comparison.measures import MEASURES, NO, Row, spanning
from analysis.comparison.outputs import RunOutputs
from analysis.resampling import jackknife_interval

SCORES = ("accuracy", "nll", "brier", "ece")


def ensemble_rows(given: RunOutputs, metrics: dict[str, Float[np.ndarray, " m"]], bins: int) -> list[Row]:
    """Scores of the ensemble, and what they gain over those of the mean run; intervals leave one run out at a time.

    Parameters
    ----------
    given : RunOutputs
        The runs.
    metrics : dict of str to ndarray, shape (m,)
        Scores of the runs.
    bins : int
        Bins of the calibration error.
    """
    runs = len(given.logits)
    total = np.zeros(given.logits.shape[1:])
    for run in given.logits:
        total += label_probabilities(run[None])[0]
    whole = _scores(total / runs, given.labels, bins)
    parts: list[dict[str, float]] = []
    if runs > 2:
        for run in given.logits:
            rest = np.maximum(total - label_probabilities(run[None])[0], 0)
            parts.append(_scores(rest / (runs - 1), given.labels, bins))
    rows = []
    for name in SCORES:
        members, kind = metrics[name], MEASURES[name]
        without = np.array([part[name] for part in parts])
        rows.append(_row(name, "ensemble", whole[name], without, runs, kind.low, kind.high))
        others = (members.sum() - members)[: len(parts)] / (runs - 1)
        gain = whole[name] - float(members.mean())
        rows.append(_row(name, "ensemble minus mean run", gain, without - others, runs, -np.inf, np.inf))
    return rows


def _row(name: str, of: str, value: float, left_out: np.ndarray, runs: int, low: float, high: float) -> Row:
    if not len(left_out):
        return spanning(name, of, value, NO, NO, NO, runs)
    found = jackknife_interval(value, left_out, low=low, high=high)
    return spanning(name, of, value, float(found.low), float(found.high), NO, runs)


def _scores(probabilities: Float[np.ndarray, "n C"], labels: Int[np.ndarray, " n"], bins: int) -> dict[str, float]:
    logits = np.log(np.maximum(probabilities, np.finfo(np.float64).tiny))[None]
    right = decisions(logits) == labels
    return {
        "accuracy": float(right.mean()),
        "nll": float(negative_log_likelihood(logits, labels)[0]),
        "brier": float(brier_score(logits, labels)[0]),
        "ece": float(calibration_error(top_label_confidence(logits), right, bins=bins)[0]),
    }
