"""Representer points add up to the head's logit, where they exist."""

import numpy as np
import pytest

from analysis.attribution.representer import refit_representer_head, representer_head, representer_scores


@pytest.mark.parametrize("n_classes", [2, 3])
def test_representers_sum_to_the_logit(n_classes):
    rng = np.random.default_rng(0)
    h, y = rng.normal(size=(60, 5)), np.arange(60) % n_classes
    head = refit_representer_head(h, y, penalty=1e-2)
    assert head.residual < 1e-6
    test, classes = rng.normal(size=(7, 5)), rng.integers(0, n_classes, 7)
    scores = representer_scores(test, h, head.alphas, classes)
    np.testing.assert_allclose(scores.sum(1), (test @ head.weight.T)[np.arange(7), classes], atol=1e-5)
    assert (head.alphas[np.arange(60), y] > 0).all()  # a point supports its own class


def test_representer_refuses_heads_that_are_not_stationary_or_not_linear():
    rng = np.random.default_rng(0)
    h, y = rng.normal(size=(60, 5)), np.arange(60) % 3
    with pytest.raises(ValueError, match=r"residual .* Refit"):
        representer_head(h, y, rng.normal(size=(3, 5)), 1e-2)
    with pytest.raises(ValueError, match="linear head of shape"):
        representer_head(h, y, rng.normal(size=(3, 9)), 1e-2)
    with pytest.raises(ValueError, match="penalty must be positive"):
        representer_head(h, y, rng.normal(size=(3, 5)), 0.0)
