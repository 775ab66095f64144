"""Figures of spectral evolution: what they draw, reproducible bytes, and refusals."""

import math

import numpy as np
import pytest

from analysis.spectra.figures import (
    Curve,
    SpectrumPanel,
    figure_loss_by_class,
    figure_norm_scaling,
    figure_over_steps,
    figure_spectra,
    figure_tail,
    figure_waterfall,
)
from analysis.spectra.heavy_tails import simulate_wishart_spectrum
from analysis.spectra.marchenko_pastur import MarchenkoPastur, tracy_widom_edge
from analysis.spectra.power_law import fit_power_law
from analysis.style import svg_bytes


def spectrum(seed: int) -> np.ndarray:
    return simulate_wishart_spectrum(90, 60, np.random.default_rng(seed))


@pytest.mark.parametrize("largest", [2.0, 5.0, 400.0])
def test_before_and_after(largest: float) -> None:
    after = np.r_[spectrum(0)[:-1], largest]
    edge = tracy_widom_edge(90, 60).threshold()
    panel = SpectrumPanel("Adam 0.1", spectrum(0), after, MarchenkoPastur(60 / 90), edge)
    figure = figure_spectra([panel, SpectrumPanel("no law", after, after)])
    assert figure.axes[0].get_xscale() == ("log" if largest > 100 else "linear")
    assert f"{int(np.sum(after > edge))} outlier" in figure.axes[0].get_title(loc="left")
    again = figure_spectra([panel, SpectrumPanel("no law", after, after)])
    assert svg_bytes(figure) == svg_bytes(again)


def test_waterfall_leaves_diverged_snapshots_out() -> None:
    rows = np.stack([spectrum(0), spectrum(1), np.full(60, math.nan)])
    rows[1, -1] = 50.0
    axis = figure_waterfall(rows, [0, 10, 100], threshold=3.8).axes[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["0", "10"]
    with pytest.raises(ValueError, match="diverged"):
        figure_waterfall(rows[2:], [100])
    with pytest.raises(ValueError, match="3 spectra but 1 steps"):
        figure_waterfall(rows, [0])


def test_curves_over_steps() -> None:
    curves = {"GD": Curve(np.array([0, 1, 10]), np.array([[0.1, 0.2, 0.3], [0.1, 0.1, math.nan]]))}
    figure = figure_over_steps({"alignment": curves, "KTA": curves})
    assert [axis.get_ylabel() for axis in figure.axes] == ["alignment", "KTA"]
    with pytest.raises(ValueError, match="no quantity"):
        figure_over_steps({})


def test_loss_by_class_counts_what_it_does_not_draw() -> None:
    labels, losses = ["invariant", "bulk+spike", "diverged"], np.array([0.4, 0.3, math.nan])
    figure = figure_loss_by_class(labels, losses, ["GD", "SGD", "SGD"], ("best linear", 0.31))
    assert "1 diverged" in figure.axes[0].get_title(loc="left")
    with pytest.raises(ValueError, match="differ"):
        figure_loss_by_class(["invariant"], losses, ["GD"])


def test_tail_and_scaling() -> None:
    values = spectrum(0)
    figure = figure_tail(values, fit_power_law(values), np.stack([spectrum(1), spectrum(2)]), reported=False)
    assert "like the null" in figure.axes[0].get_legend_handles_labels()[1][-1]
    norms = {"Frobenius": np.ones((2, 3)), "operator": np.ones((2, 3))}
    assert figure_norm_scaling(np.array([500, 1000, 2000]), norms).axes[0].get_ylim()[0] == 0
    with pytest.raises(ValueError, match="no spectra"):
        figure_spectra([])
