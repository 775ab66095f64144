"""The losses' derivatives match finite differences."""

import numpy as np
import pytest
import torch

from analysis.surrogates.glm_losses import score_loss


@pytest.mark.parametrize("formulation", ["ovr", "softmax"])
def test_gradient_and_curvature_match_finite_differences(formulation):
    probabilities = np.random.default_rng(0).dirichlet(np.ones(3), 7)
    loss = score_loss(probabilities, np.array([0.5, 1.0, 2.0]), formulation, torch.device("cpu"))
    scores = torch.randn(7, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    change = torch.randn(7, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))

    def total(s):
        value = loss.value(s)
        return value.sum() if formulation == "ovr" else value[0]

    gradient = torch.autograd.functional.jacobian(total, scores)
    torch.testing.assert_close(loss.residual(scores), gradient)
    hvp = torch.autograd.functional.hvp(total, scores, change)[1]
    torch.testing.assert_close(loss.at(scores).apply(change), hvp)
