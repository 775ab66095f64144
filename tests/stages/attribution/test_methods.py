"""TracIn over checkpoints and TRAK over seeds equal their formulas, through real networks."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.special import softmax
from torch import nn

from pipeline.config.attribution import AttributionConfig
from pipeline.data.datamodule import KernelInputs
from pipeline.stages.attribution.methods import Attributor
from pipeline.stages.kernel.read import KernelSide


def network(seed: int) -> nn.Module:
    """Five inputs, three classes, no hidden layer: P = 18, far below the sketch's size."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(5, 3)).double().eval()


def gradients(model: nn.Module, x: torch.Tensor, y: np.ndarray, what: str) -> np.ndarray:
    """One backward pass a point."""
    rows = []
    for point, label in zip(x, y.tolist(), strict=True):
        scores = model(point[None])[0].log_softmax(0)
        value = -scores[label]
        if what == "log_odds":
            value = scores[label] - scores[torch.arange(3) != label].logsumexp(0)
        rows.append(torch.cat([g.flatten() for g in torch.autograd.grad(value, list(model.parameters()))]))
    return torch.stack(rows).numpy()


@pytest.fixture
def case(monkeypatch):
    """An attributor whose gradients are exact, its points, and its networks."""
    rng = np.random.default_rng(0)
    x, z = torch.from_numpy(rng.normal(size=(12, 5))), torch.from_numpy(rng.normal(size=(4, 5)))
    y, classes = np.arange(12) % 3, np.array([0, 2, 1, 1])
    models = [network(seed) for seed in range(3)]

    def exact(model, inputs, *, kind, labels, **_):
        what = "log_odds" if kind == "log_odds" else "loss"
        return SimpleNamespace(values=torch.from_numpy(gradients(model, inputs, labels.numpy(), what)))

    monkeypatch.setattr("pipeline.stages.attribution.methods.kernel_features", exact)
    outputs = [model(x).detach().numpy() for model in models]
    train = KernelSide(np.eye(12), np.arange(12), y, outputs[0])
    side = KernelSide(np.zeros((4, 12)), np.arange(4), classes, models[0](z).detach().numpy())
    made = Attributor(
        AttributionConfig(ridge=0.05),
        train,
        None,
        None,
        models[0],
        KernelInputs(x, torch.arange(12), torch.from_numpy(y)),
        checkpoints=[(0.5, models[1]), (0.1, models[2])],
        others=[(outputs[1], models[1]), (outputs[2], models[2])],
    )
    return made, side, KernelInputs(z, torch.arange(4), torch.from_numpy(classes)), classes, models, outputs, x, z, y


def test_tracin_sums_rate_times_gradient_products_over_checkpoints(case):
    made, side, points, classes, models, _, x, z, y = case
    expected = sum(
        rate * gradients(model, z, classes, "loss") @ gradients(model, x, y, "loss").T
        for rate, model in ((0.5, models[1]), (0.1, models[2]))
    )
    np.testing.assert_allclose(made.scores("tracin", side, points, classes), expected, rtol=1e-10)
    own = sum(
        rate * (gradients(model, x, y, "loss") ** 2).sum(1) for rate, model in ((0.5, models[1]), (0.1, models[2]))
    )
    np.testing.assert_allclose(made.self_scores("tracin"), own, rtol=1e-10)


def test_trak_averages_both_factors_over_networks(case):
    made, side, points, classes, models, outputs, x, z, y = case
    products, doubts = [], []
    for model, scores in zip(models, outputs, strict=True):
        train, test = gradients(model, x, y, "log_odds"), gradients(model, z, classes, "log_odds")
        gram = train.T @ train
        ridge = 0.05 * np.trace(gram) / len(gram) * np.eye(len(gram))
        products.append(test @ np.linalg.solve(gram + ridge, train.T))
        doubts.append(1 - softmax(scores, axis=1)[np.arange(12), y])
    expected = np.mean(products, 0) * np.mean(doubts, 0)
    np.testing.assert_allclose(made.scores("trak", side, points, classes), expected, rtol=1e-8)
