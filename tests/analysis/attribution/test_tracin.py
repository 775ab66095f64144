"""TracIn equals its sum over checkpoints."""

import numpy as np
import pytest

from analysis.attribution.tracin import tracin_scores, tracin_self_influence


def test_tracin_sums_gradient_products_along_training():
    rng = np.random.default_rng(0)
    train, test, rates = rng.normal(size=(3, 8, 4)), rng.normal(size=(3, 2, 4)), [0.1, 0.05, 0.01]
    expected = sum(r * b @ a.T for r, a, b in zip(rates, train, test, strict=True))
    np.testing.assert_allclose(tracin_scores((b @ a.T for a, b in zip(train, test, strict=True)), rates), expected)
    own = tracin_self_influence([(a**2).sum(1) for a in train], rates)
    np.testing.assert_allclose(own, sum(r * (a**2).sum(1) for r, a in zip(rates, train, strict=True)))
    for wrong in (rates[:2], [*rates, 1.0]):
        with pytest.raises(ValueError, match="one rate per checkpoint"):
            tracin_scores((b @ a.T for a, b in zip(train, test, strict=True)), wrong)
