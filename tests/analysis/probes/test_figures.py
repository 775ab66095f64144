"""Figures of the probe study: drawn from the tables alone, averaged over seeds, same bytes twice."""

import numpy as np
import pytest

from analysis.probes.figures import (
    collapse_figure,
    component_curves_figure,
    depth_figure,
    explained_variance_figure,
)
from analysis.probes.onset import bootstrap_onset
from analysis.style import PAPER, svg_bytes

LAYERS = ["layer1.0", "layer2.0", "layer3.0", "layer4.1", "pool"]


def made_up_rows():
    rng = np.random.default_rng(0)
    out = []
    for seed in range(3):
        for depth, layer in enumerate(LAYERS):
            for shift, name in enumerate(("knn", "ncc", "svm")):
                for k in (1, 3, 10, 30, 100, 0):
                    base = 0.35 + 0.14 * depth + 0.02 * shift * (4 - depth)
                    reach = 1.0 if k == 0 else k / (k + 3.0)
                    score = base * reach + 0.004 * rng.standard_normal()
                    out.append(
                        {
                            "layer": layer,
                            "classifier": name,
                            "setting": 10.0,
                            "k": k,
                            "evr": 1.0 if k == 0 else k / (k + 8.0),
                            "accuracy": score,
                            "fidelity": score + 0.01,
                            "converged": not (name == "svm" and k == 100),
                            "seed": seed,
                        }
                    )
    return out


def build():
    rows = made_up_rows()
    rng = np.random.default_rng(0)
    draw = rng.random(2000)
    correct = np.stack([[draw < 0.35 + 0.14 * d + 0.02 * s * (4 - d) for s in range(3)] for d in range(5)])
    onset = bootstrap_onset(correct, LAYERS, generator=rng, tolerance=0.02, draws=50)
    nc = [
        {"layer": layer, "epoch": e, "nc1": 10.0 ** (2 - d - e / 20), "nc2_angles": 0.3 / (d + 1), "nc4": 0.5 / (d + e)}
        for d, layer in enumerate(LAYERS)
        for e in (1, 10, 20)
    ]
    curves = {layer: np.cumsum(1.0 / np.arange(1, 200) ** (1 + 0.3 * d)) for d, layer in enumerate(LAYERS)}
    curves = {layer: curve / curve[-1] for layer, curve in curves.items()} | {"dead": np.zeros(0)}
    return {
        "variance": explained_variance_figure(curves),
        "components": component_curves_figure(rows, LAYERS, network_accuracy=0.93),
        "depth": depth_figure(rows, LAYERS, onset=onset, nc1=np.geomspace(80, 0.1, 5), network_accuracy=0.93),
        "collapse": collapse_figure(nc, LAYERS),
    }


@pytest.fixture(scope="module")
def figures():
    return build()


@pytest.fixture(scope="module")
def again():
    return build()


@pytest.mark.parametrize("name", ["variance", "components", "depth", "collapse"])
def test_figures_render_to_the_same_bytes(figures, again, name):
    assert svg_bytes(figures[name]) == svg_bytes(again[name])


def test_unconverged_fits_have_hollow_markers(figures):
    hollow = [line for line in figures["components"].axes[2].lines if str(line.get_markerfacecolor()) == PAPER]
    assert len(hollow) == len(LAYERS)


def test_every_surrogate_has_a_panel(figures):
    titles = [axis.get_title(loc="left") or axis.get_title() for axis in figures["components"].axes]
    assert titles[:3] == ["k-NN", "nearest center", "linear SVM"]
