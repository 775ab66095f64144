"""Fréchet distances of known Gaussians, and in more dimensions than rows."""

import numpy as np
import pytest

from analysis.shift.frechet import frechet_distance, frechet_test
from tests.references import two_sample as reference


def test_frechet_in_more_dimensions_than_rows_loses_nothing():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((8, 40)), rng.standard_normal((9, 40)) * 1.5
    found = frechet_test(a, b, generator=rng, draws=3, shrinkage=0.3)
    assert found.statistic == pytest.approx(reference.frechet(a, b, 0.3), rel=1e-8)
    assert 0 < frechet_test(a, b, generator=rng, draws=3).detail["shrinkage"] <= 1


def test_frechet_of_equal_samples_and_of_shifted_gaussians():
    rng = np.random.default_rng(0)
    a = rng.standard_normal((200, 4))
    assert abs(frechet_distance(a, a)) < 1e-10
    shift = np.array([1.0, -0.5, 0.0, 2.0])
    found = frechet_distance(rng.standard_normal((40_000, 4)) + shift, rng.standard_normal((40_000, 4)))
    assert found == pytest.approx(shift @ shift, rel=0.02)


def test_unshrunk_distances_need_more_rows_than_dimensions():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((5, 6)), rng.standard_normal((25, 6))
    with pytest.raises(ValueError, match="5 rows for 6 dimensions"):
        frechet_test(a, b, generator=rng, shrinkage=0.0)
    with pytest.raises(ValueError, match="5 rows for 6 dimensions"):
        frechet_distance(a, b)
