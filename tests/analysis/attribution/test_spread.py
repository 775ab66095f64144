"""The derivative of the variance over seeds is that of real trainings."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from analysis.attribution.optimizer_steps import OptimizerRule
from analysis.attribution.replay import Replay
from analysis.attribution.spread import pairwise_churn, spread_scores

ROWS = 8


def one_seed(seed: int) -> Replay:
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(ROWS, 3, generator=generator, dtype=torch.float64)
    y = torch.arange(ROWS) % 2
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    order = torch.randperm(ROWS).view(2, 4)

    def batch(step: int):
        return {"x": x[order[step % 2]]}, y[order[step % 2]], order[step % 2]

    loss = nn.functional.cross_entropy
    rule = OptimizerRule("sgd", momentum=0.9)
    return Replay(network, lambda model, inputs: model(inputs["x"]), loss, rule, [0.1] * 6, batch, ROWS)


def test_scores_are_the_derivative_of_the_variance_of_real_trainings():
    points = {"x": torch.randn(3, 3, generator=torch.Generator().manual_seed(9), dtype=torch.float64)}
    seeds = [one_seed(seed) for seed in range(3)]

    def measure(replay, weights):
        return replay.outputs(weights, points).softmax(1)[:, 0]

    ones = torch.ones(ROWS, dtype=torch.float64)
    values = np.stack([measure(one, one.run(ones)).detach().numpy() for one in seeds])
    slopes = np.stack([one.derivative(lambda weights, one=one: measure(one, weights)).numpy() for one in seeds])
    found = spread_scores(values, slopes)
    for row in (0, 5):
        variances = []
        for sign in (1, -1):
            weights = ones.clone()
            weights[row] += sign * 1e-5
            moved = np.stack([measure(one, one.run(weights)).detach().numpy() for one in seeds])
            variances.append(moved.var(0, ddof=1).mean())
        assert found[row] == pytest.approx((variances[0] - variances[1]) / 2e-5, rel=1e-5)


def test_churn_is_the_mean_over_all_pairs():
    decisions = np.random.default_rng(0).integers(0, 3, (5, 40))
    pairs = [np.mean(a != b) for a, b in itertools.combinations(decisions, 2)]
    assert pairwise_churn(decisions) == pytest.approx(np.mean(pairs))


def test_one_seed_has_no_spread():
    with pytest.raises(ValueError, match="at least 2"):
        spread_scores(np.zeros((1, 2)), np.zeros((1, 2, 3)))
    with pytest.raises(ValueError, match="at least 2"):
        pairwise_churn(np.zeros((1, 2), int))
