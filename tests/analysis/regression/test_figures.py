"""Figures of the regression study."""

import numpy as np
import pytest

from analysis.regression.figures import (
    decay_figure,
    error_by_epoch_figure,
    logistic_figure,
    residual_figure,
)
from analysis.regression.regularity import eigenvalue_decay
from analysis.style import svg_bytes

PANELS = [(a, t) for a in ("relu", "tanh") for t in ("exp(sin 2πx)", "exp(3x)")]


def build():
    rng = np.random.default_rng(0)
    rows = [
        {
            "activation": a,
            "target": t,
            "machine": m,
            "epoch": e,
            "seed": s,
            "test_rms": 10 ** (-level - e / 600 + 0.1 * rng.standard_normal()),
        }
        for a, t in PANELS
        for level, m in enumerate(("nn", "ck", "ck_svd", "ntk"))
        for e in range(30, 1201, 30)
        for s in range(3)
    ]
    rows[0]["test_rms"] = np.nan
    x = np.linspace(-1, 1, 300)
    target = np.exp(np.sin(2 * np.pi * x))
    fits = {m: target + d * np.cos(9 * x) for m, d in (("nn", 0.1), ("ck", 1e-3), ("ntk", 1e-2))}
    grid = np.linspace(-1, 1, 80)[:, None]
    kernels = {
        "Laplace": eigenvalue_decay(np.exp(-np.abs(grid - grid.T))),
        "Matérn 3/2": eigenvalue_decay((1 + np.abs(grid - grid.T)) * np.exp(-np.abs(grid - grid.T))),
        "Gauss": eigenvalue_decay(np.exp(-((grid - grid.T) ** 2))),
    }
    logistic = [
        {
            "machine": m,
            "epoch": e,
            "run": r,
            "cross_entropy": c + np.exp(-e / 900) * 0.3 + 0.01 * r,
            "accuracy": 0.97 - c / 5 - 0.01 * r,
        }
        for m, c in (("nn", 0.4), ("ck", 0.1), ("ntk", 0.08))
        for r in range(5)
        for e in range(40, 4000 - 500 * r, 40)
    ]
    return {
        "epochs": error_by_epoch_figure(rows, PANELS),
        "residual": residual_figure(x, target, fits, np.linspace(-1, 0.95, 60)),
        "decay": decay_figure(kernels),
        "logistic": logistic_figure(logistic),
    }


@pytest.fixture(scope="module")
def figures():
    return build(), build()


@pytest.mark.parametrize("name", ["epochs", "residual", "decay", "logistic"])
def test_figures_render_to_the_same_bytes(figures, name):
    assert svg_bytes(figures[0][name]) == svg_bytes(figures[1][name])
