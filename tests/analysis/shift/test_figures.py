"""Figures of the shift study."""

import numpy as np
import pytest

from analysis.shift.cues import CUES
from analysis.shift.figures import (
    calibration_figure,
    cue_figure,
    ks_figure,
    map_figure,
    pooled_pca_figure,
    power_figure,
    probe_matrix_figure,
)
from analysis.shift.pca_ks import pooled_pca_ks, pooled_scores
from analysis.shift.power import Calibration, RejectionRate
from analysis.style import svg_bytes

NAMES = ["pca", "ks", "power", "calibration", "probes", "cues", "map"]


def _rate(name, size, rate, n=60):
    hits = int(rate * n)
    return {
        "test": name, "size": size, "repeats": n, "rejections": hits, "rate": hits / n,
        "low": max(0.0, hits / n - 0.1), "high": min(1.0, hits / n + 0.1), "alpha": 0.05,
    }  # fmt: skip


def build():
    rng = np.random.default_rng(0)
    scale = np.geomspace(4, 0.3, 12)
    a, b, c = (rng.standard_normal((180, 12)) * scale for _ in range(3))
    b[:, 3] += 1.2
    labels = tuple(rng.integers(0, 2, 180) for _ in range(2))
    ks, null = pooled_pca_ks(a, b), pooled_pca_ks(a, c)
    power = [
        _rate(name, size, min(1.0, strength * size / 160))
        for name, strength in (("MMD", 4.0), ("C2ST (split)", 2.0), ("pooled-PCA KS", 2.2), ("energy", 3.5))
        for size in (20, 40, 80, 160)
    ]
    calibrations = {
        name: Calibration(
            RejectionRate(name, 100, 300, h, h / 300, h / 300 - 0.02, h / 300 + 0.02, 0.05),
            (6, 25),
            True,
            0.5,
            rng.random(300),
        )
        for name, h in (("MMD", 15), ("pooled-PCA KS", 12), ("C2ST (split)", 10))
    }
    probes = [
        {
            "train": t,
            "test": s,
            "size": n,
            "redraw": r,
            "balanced_accuracy": base + 0.02 * np.log10(n + 1) + 0.01 * rng.standard_normal(),
        }
        for t, sizes, p, m in (
            ("P", (100, 500, 2400), 0.65, 0.7),
            ("M", (251,), 0.6, 0.8),
            ("fine-tuned", (0,), None, 0.78),
        )
        for s, base in (("P", p), ("M held out", m))
        if base is not None
        for n in sizes
        for r in range(8)
    ]
    cues = {s: dict(zip(CUES, rng.random(9), strict=True)) for s in ("M", "P negative", "P positive")}
    return {
        "pca": pooled_pca_figure(pooled_scores(a, b, 10), ks, names=("P", "M"), labels=labels),
        "ks": ks_figure(ks, null),
        "map": map_figure(a[:, :2], b[:, :2]),
        "power": power_figure(power),
        "calibration": calibration_figure(calibrations),
        "probes": probe_matrix_figure(probes),
        "cues": cue_figure(cues),
    }


@pytest.fixture(scope="module")
def figures():
    return build(), build()


@pytest.mark.parametrize("name", NAMES)
def test_figures_render_to_the_same_bytes(figures, name):
    assert svg_bytes(figures[0][name]) == svg_bytes(figures[1][name])


def test_the_strongest_pair_is_shown(figures):
    axis = figures[0]["pca"].axes[1]
    assert any("PC4" in text for text in (axis.get_xlabel(), axis.get_ylabel()))
