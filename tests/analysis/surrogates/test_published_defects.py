"""The published R² repeats its defects, and nothing but those."""

import numpy as np
import pytest
from scipy.special import log_softmax

from analysis.surrogates.faithfulness import explained_variance
from analysis.surrogates.published_defects import r2_over_test_points


def test_published_r2_divides_by_the_variance_of_the_fit():
    rng = np.random.default_rng(0)
    network = rng.normal(size=(30, 3))
    surrogate = network + rng.normal(size=(30, 3))
    target, source = (log_softmax(s, axis=0).ravel()[:, None] for s in (network, surrogate))
    r2 = explained_variance(target, source)  # share of the target's variance; residual / variance of the fit = 1/r2 - 1
    published = r2_over_test_points(network, surrogate)
    assert published == pytest.approx(1 - (1 / r2 - 1), abs=1e-3)  # up to where Nelder-Mead stops
    assert r2_over_test_points(network, network) == pytest.approx(1)
