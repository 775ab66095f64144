"""Attribution figures draw from plain arrays, the same bytes every time."""

import numpy as np
import pytest

from analysis.attribution.decomposition import top_scores
from analysis.attribution.figures import (
    confidence_scatter,
    image_gallery,
    interval_bars,
    precision_recall_curves,
    share_curves,
)
from analysis.style import svg_bytes

NAMES = ["cat", "dog", "frog"]


def gallery(channels):
    rng = np.random.default_rng(0)
    test, train = (rng.integers(0, 256, (n, 8, 8, channels), dtype=np.uint8) for n in (2, 20))
    labels = np.arange(20) % 3
    top = top_scores(rng.normal(size=(2, 20)), 3)
    return (
        image_gallery(test, train, top, np.array([0, 1]), np.array([0, 2]), labels, NAMES, marked=labels == 0),
        top,
        labels,
    )


@pytest.mark.parametrize("channels", [1, 3])
def test_gallery_has_a_panel_for_every_image_and_names_its_labels(channels):
    figure, top, labels = gallery(channels)
    assert len(figure.axes) == 2 * 4
    titles = [axis.get_title(loc="left") for axis in figure.axes]
    assert titles[0] == "test: cat\nclass cat" and titles[4] == "test: dog\nclass frog"
    assert titles[1].startswith(NAMES[labels[top.indices[0, 0]]])
    assert ("●" in titles[1]) == (labels[top.indices[0, 0]] == 0)


def test_curves_render_the_same_bytes():
    rng = np.random.default_rng(0)
    network = rng.normal(size=60)
    mask = np.arange(60) % 6 == 0
    makers = [
        lambda: confidence_scatter(network, network + 0.1, network > 0, tau=1.0),
        lambda: share_curves({"trntk": (np.arange(1, 61), np.linspace([0.1, 0.2, 0.3], 1, 60).T)}),
        lambda: precision_recall_curves({"trntk": network + mask}, mask, title="Poisoned"),
        lambda: interval_bars({"trntk": (0.7, 0.6, 0.8)}, label="τ", title="Rank agreement", reference=0.0),
    ]
    for make in makers:
        assert svg_bytes(make()) == svg_bytes(make())
