"""Attribution figures draw from plain arrays, the same bytes every time."""

import numpy as np

from analysis.attribution.figures import (
    confidence_scatter,
    interval_bars,
    precision_recall_curves,
    share_curves,
)
from analysis.style import svg_bytes


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
