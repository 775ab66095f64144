"""The barrier is the largest rise above the line between the ends."""

import numpy as np
import pytest

from analysis.interpolation import barrier_height


def test_the_height_is_above_the_slanted_line():
    places = np.linspace(0, 1, 5)
    assert barrier_height(3 + 2 * places) == pytest.approx(0, abs=1e-15)
    assert barrier_height(3 + 2 * places + 0.7 * np.sin(np.pi * places)) == pytest.approx(0.7)
    assert barrier_height(3 - 0.5 * np.sin(np.pi * places)) == 0, "a valley is no barrier"
    assert barrier_height(np.array([0.0, 1.0, 1.0]), np.array([0.0, 0.25, 1.0])) == pytest.approx(0.75)
    assert np.isnan(barrier_height(np.array([0.0, np.inf, 0.0])))


def test_what_is_no_path_is_refused():
    with pytest.raises(ValueError, match="has 2 of a path"):
        barrier_height(np.array([0.0, 1.0]))
    with pytest.raises(ValueError, match="places must increase from 0 to 1"):
        barrier_height(np.zeros(3), np.array([0.0, 0.5, 0.9]))
