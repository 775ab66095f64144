"""Decay of a kernel's eigenvalues: a known power law, and windows that do not fit."""

import numpy as np
import pytest

from analysis.regression.regularity import effective_dimension, eigenvalue_decay


def test_decay_of_a_known_power_law():
    rng = np.random.default_rng(0)
    q = np.linalg.qr(rng.standard_normal((60, 60)))[0]
    values = np.arange(1, 61.0) ** -3
    gram = (q * values) @ q.T
    gram = (gram + gram.T) / 2
    found = eigenvalue_decay(gram)
    assert found.slope == pytest.approx(-3.0, abs=1e-6) and found.r_squared == pytest.approx(1.0)
    assert found.sobolev_order == pytest.approx(1.5) and found.numerical_rank == 60
    np.testing.assert_allclose(
        effective_dimension(found.eigenvalues, np.array([0.1])), [np.sum(values / (values + 0.1))]
    )


def test_a_window_below_rounding_gives_nan_and_bad_windows_are_refused():
    gram = np.outer(np.ones(50), np.ones(50))
    assert np.isnan(eigenvalue_decay(gram).slope) and eigenvalue_decay(gram).numerical_rank == 1
    with pytest.raises(ValueError, match="does not fit"):
        eigenvalue_decay(gram, window=(5, 80))
    with pytest.raises(ValueError, match="μ > 0"):
        effective_dimension(np.ones(3), np.array([0.0]))
