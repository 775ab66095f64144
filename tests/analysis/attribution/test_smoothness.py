"""Agreement of a derivative with finite steps."""

import numpy as np
import pytest

from analysis.attribution.smoothness import step_agreement


def test_a_linear_training_agrees_at_every_step_and_noise_at_none():
    rng = np.random.default_rng(0)
    slopes, parts = rng.normal(size=(5, 30)), rng.random((4, 30)) < 0.3
    steps = (0.1, 1.0)
    real = np.stack([-step * parts @ slopes.T for step in steps])
    assert all(
        one.error < 1e-12 and one.correlation == pytest.approx(1) for one in step_agreement(slopes, parts, real, steps)
    )
    noise = step_agreement(slopes, parts, rng.normal(size=real.shape), steps)
    assert all(one.error > 0.9 and abs(one.correlation) < 0.6 for one in noise)


def test_a_training_that_nothing_moves_has_no_correlation():
    found = step_agreement(np.zeros((2, 3)), np.ones((1, 3), bool), np.zeros((1, 1, 2)), (1.0,))
    assert found[0].correlation == 0


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match="are not .step, part, test point"):
        step_agreement(np.zeros((2, 3)), np.ones((1, 3), bool), np.zeros((2, 1, 2)), (1.0,))
