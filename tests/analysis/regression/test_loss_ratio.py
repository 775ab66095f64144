"""The loss ratio and its bounds on machines whose answer is known."""

import numpy as np
import pytest

from analysis.regression.loss_ratio import kernel_loss_ratio


def test_a_machine_that_extends_half_of_the_residual_halves_the_loss():
    target, network = (np.ones((3, 1)), np.ones((4, 1))), (np.zeros((3, 1)), np.zeros((4, 1)))
    found = kernel_loss_ratio(target, network, lambda values: np.full((4, 1), values.mean() / 2))
    assert (found.ratio, found.extension, found.bracket) == pytest.approx((0.5, 0.5, 0.0))
    assert (found.lower, found.upper) == pytest.approx((0.5, 1.5)) and found.holds
    assert (found.network_rms, found.machine_rms, found.gap) == pytest.approx((1.0, 0.5, 0.0))


def test_an_exact_network_has_no_ratio():
    f = (np.ones((3, 1)), np.ones((4, 1)))
    with pytest.raises(ValueError, match="loss ratio is undefined"):
        kernel_loss_ratio(f, f, lambda values: np.ones((4, 1)))
