"""Influence by the exact curvature equals the explicit inverse, through the dual and by conjugate gradients."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from analysis.attribution.output_derivatives import OutputDerivatives
from pipeline.checks.attribution import attribution_problems
from pipeline.config.attribution import AttributionConfig
from pipeline.config.run import RunConfig
from pipeline.data.datamodule import KernelInputs
from pipeline.errors import UserError
from pipeline.stages.attribution.curvature import Curvature, influence_damping
from tests.kernels.cases import CASES, make
from tests.references import attribution_formulas as reference

NETWORKS = {
    "mlp": lambda: nn.Sequential(nn.Flatten(), nn.Linear(16, 5), nn.Tanh(), nn.Linear(5, 3)),
    "cnn": lambda: nn.Sequential(nn.Conv2d(1, 2, 2), nn.ReLU(), nn.Flatten(), nn.Linear(18, 3)),
    "norm": lambda: nn.Sequential(nn.Flatten(), nn.LayerNorm(16), nn.Linear(16, 3, bias=False)),
}


def points(n: int, seed: int) -> KernelInputs:
    rng = np.random.default_rng(seed)
    labels = torch.from_numpy(rng.integers(0, 3, n))
    return KernelInputs(torch.from_numpy(rng.normal(size=(n, 1, 4, 4))), torch.arange(n), labels)


def curvature(name: str, damping: float | None = 0.05, loss: str = "cross_entropy", most: int = 300) -> Curvature:
    torch.manual_seed(0)
    train = points(14, 1)
    model = NETWORKS[name]().double().eval()
    return Curvature(model, train, train.labels.numpy(), loss, damping, 0.1, 1e-12, most)


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_both_ways_equal_the_explicit_inverse(name):
    made, test = curvature(name), points(4, 2)
    classes = np.array([0, 1, 2, 2])
    expected = reference.gauss_newton_influence(
        made.network, made.inputs.inputs, made.labels, test.inputs, classes, 0.05
    )
    np.testing.assert_allclose(made.dual(test, classes), expected, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(made.conjugate(test, classes), expected, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(made.dual(made.inputs, made.labels, times=2.0).diagonal() > 0, True)
    assert all("residual" in line for line in made.said)


SHARED = ("mlp", "conv2d", "batchnorm2d", "layernorm", "tied_linear", "lstm", "frozen_first_layer", "tiny_gpt2")


@pytest.mark.parametrize("name", SHARED)
def test_both_ways_equal_the_explicit_inverse_on_the_shared_networks(name):
    case = next(one for one in CASES if one.name == name)
    model, inputs, labels = make(case, 5)
    train = KernelInputs(inputs, torch.arange(5), labels)
    made = Curvature(model, train, labels.numpy(), "cross_entropy", 0.05, 0.1, 1e-12, 400)
    classes = labels.numpy()[::-1].copy()
    expected = reference.gauss_newton_influence(model, inputs, labels.numpy(), inputs, classes, 0.05)
    np.testing.assert_allclose(made.dual(train, classes), expected, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(made.conjugate(train, classes), expected, rtol=1e-7, atol=1e-9)


def test_the_kernel_of_a_killed_solve_is_not_made_again(monkeypatch):
    made, said = curvature("mlp"), []
    made.say = said.append
    kernel = made.square
    assert "14·3 = 42 rows" in said[0]
    again = curvature("mlp")
    again.keep = made.keep
    monkeypatch.setattr(Curvature, "_kernel", lambda self, points: pytest.fail("made twice"))
    np.testing.assert_array_equal(again.square, kernel)


def test_the_relative_damping_is_a_share_of_the_mean_eigenvalue():
    made = curvature("mlp", damping=None)
    by_kernel = curvature("mlp", damping=None)
    by_kernel.square  # noqa: B018 - made first, so that the trace is read from it
    assert by_kernel.absolute == pytest.approx(made.absolute, rel=1e-10)
    curve = np.stack([made.outputs.roots[i] @ made.outputs.roots[i].T for i in range(14)])
    trace = sum(np.trace(by_kernel.square[i, i] @ curve[i]) for i in range(14)) / 14
    assert made.absolute == pytest.approx(0.1 * trace / (14 * 3), rel=1e-10)


def test_the_damping_is_one_over_the_training_time():
    run = RunConfig()
    training = dataclasses.replace(run.training, optimizer="sgd", lr=0.02, momentum=0.9, epochs=20, batch_size=32)
    run = dataclasses.replace(run, training=training)
    assert influence_damping(run, 240) == pytest.approx(1 / (160 * 0.2))
    decayed = dataclasses.replace(run, training=dataclasses.replace(training, weight_decay=0.5))
    assert influence_damping(decayed, 240) == pytest.approx(1 / (160 * 0.2) + 0.5)
    adam = dataclasses.replace(run, training=dataclasses.replace(training, optimizer="adam"))
    assert influence_damping(adam, 240) is None
    chosen = dataclasses.replace(run, attribution=AttributionConfig(exact_damping=0.7))
    assert influence_damping(chosen, 240) == 0.7


def test_steps_that_do_not_suffice_are_reported_with_the_residual():
    made = curvature("cnn", damping=1e-6, most=2)
    made.conjugate(points(2, 3), np.array([0, 1]))
    assert "raise attribution.cg_steps=2" in made.said[-1]


def test_a_dual_that_is_too_large_is_refused_with_its_numbers():
    made = curvature("mlp")
    made.__dict__["outputs"] = OutputDerivatives(np.zeros((5000, 10)), np.zeros((5000, 10, 10)))
    with pytest.raises(UserError, match=r"5000·10 = 50000 rows \(18.6 GiB .*kernel.n_train=1200.*cg_influence"):
        made.dual(points(2, 3), np.array([0, 1]))


def test_a_loss_that_is_not_convex_in_the_logits_is_refused():
    with pytest.raises(UserError, match="not convex in the logits.*cross_entropy, bce or mse"):
        curvature("mlp", loss="softmax_mse").outputs  # noqa: B018


def test_centered_outputs_are_refused():
    run = RunConfig(attribution=AttributionConfig(method="exact_influence"))
    run = dataclasses.replace(run, model=dataclasses.replace(run.model, center_output=True))
    assert any("center_output=false" in line for line in attribution_problems(run))
