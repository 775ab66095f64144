"""The two-layer student and its teacher: formula, moments, scales, tangent kernel."""

import math

import numpy as np
import pytest
import torch

from models.initialization import seeded
from models.two_layer import (
    GaussianActivation,
    TwoLayerNet,
    activation_moments,
    build_two_layer,
    parameterization_of,
    sample_teacher,
)


def make(**options: object) -> TwoLayerNet:
    with seeded(0):
        return TwoLayerNet(20, 30, **options).double()  # type: ignore[arg-type]


def test_moments_of_the_published_activations() -> None:
    tanh, softplus, relu = (activation_moments(name) for name in ("tanh", "softplus", "relu"))
    assert tanh.deviation == pytest.approx(0.62793, abs=1e-5)
    assert (tanh.slope, tanh.slope_square) == pytest.approx((0.96461, 1.17781), abs=1e-5)
    assert (softplus.mean, softplus.deviation) == pytest.approx((0.80606, 0.52107), abs=1e-5)
    assert softplus.slope == pytest.approx(0.95956, abs=1e-5)
    assert relu.mean == pytest.approx(1 / math.sqrt(2 * math.pi), abs=1e-7)
    assert relu.slope == pytest.approx(0.5 / relu.deviation, abs=1e-7)


def test_normalized_activation_has_zero_mean_and_unit_variance() -> None:
    z = torch.randn(400_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    values = GaussianActivation("softplus")(z)
    assert abs(float(values.mean())) < 0.01 and float(values.var()) == pytest.approx(1.0, abs=0.01)
    torch.testing.assert_close(GaussianActivation("tanh", normalized=False)(z), torch.tanh(z))


def test_forward_is_the_formula() -> None:
    model = make(normalized=False)
    x = torch.randn(5, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    w, v = model.hidden.weight, model.readout.weight
    expected = torch.tanh(x @ w.T / math.sqrt(20)) @ v.T / math.sqrt(30)
    torch.testing.assert_close(model(x), expected)


@pytest.mark.parametrize("name", ["ntk", "standard", "mean_field"])
def test_parameterisations_have_their_scales(name: str) -> None:
    scales = parameterization_of(name, 400, 600)
    assert scales.input_scale * scales.hidden_deviation == pytest.approx(400**-0.5)
    expected = 1 / 600 if name == "mean_field" else 600**-0.5
    assert scales.output_scale * scales.readout_deviation == pytest.approx(expected)
    with seeded(0):
        model = TwoLayerNet(400, 600, parameterization=name)
    assert float(model.hidden.weight.detach().std()) == pytest.approx(scales.hidden_deviation, rel=0.02)


def test_centered_output_starts_at_zero_and_follows_the_change() -> None:
    plain, centered = make(), make(center_output=True)
    x = torch.randn(5, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    assert torch.all(centered(x) == 0)
    before = plain(x).detach()
    for model in (plain, centered):
        with torch.no_grad():
            model.hidden.weight.add_(0.1)
    torch.testing.assert_close(centered(x), plain(x) - before)
    assert len(list(centered.parameters())) == 2


def test_first_layer_only_freezes_the_readout() -> None:
    model = make(trained="first")
    assert [p.requires_grad for p in model.parameters()] == [True, False]


def test_teacher_sample() -> None:
    draw = sample_teacher(4000, 30, torch.Generator().manual_seed(0), dtype=torch.float64, indices=2)
    torch.testing.assert_close(draw.directions @ draw.directions.T, torch.eye(2, dtype=torch.float64))
    assert float(draw.targets.var()) == pytest.approx(1.09, abs=0.1)
    slope = float((draw.targets * (draw.inputs @ draw.directions[0])).mean()) * math.sqrt(2)
    assert slope == pytest.approx(0.95956, abs=0.08)
    test = sample_teacher(10, 30, torch.Generator().manual_seed(1), directions=draw.directions)
    assert test.directions.shape == (2, 30) and test.inputs.dtype == torch.float32
    shifted = sample_teacher(4000, 30, torch.Generator().manual_seed(0), quadratic=5.0, dtype=torch.float64)
    plain = sample_teacher(4000, 30, torch.Generator().manual_seed(0), dtype=torch.float64)
    np.testing.assert_allclose(shifted.targets - plain.targets, 5 / 30 * (plain.inputs**2).sum(1), rtol=1e-9)


def test_bad_arguments_are_named() -> None:
    generator = torch.Generator()
    with pytest.raises(ValueError, match="unknown parameterization 'mup'"):
        TwoLayerNet(4, 4, parameterization="mup")
    with pytest.raises(ValueError, match="trained must be one of"):
        TwoLayerNet(4, 4, trained="last")
    with pytest.raises(ValueError, match="features and width"):
        TwoLayerNet(0, 4)
    with pytest.raises(ValueError, match="unknown activation"):
        TwoLayerNet(4, 4, activation="swoosh")
    with pytest.raises(ValueError, match="1 output, not 3"):
        build_two_layer(input_shape=(4,), n_classes=3)
    assert build_two_layer(input_shape=(2, 2), n_classes=1, width=3).hidden.in_features == 4
    with pytest.raises(ValueError, match="indices"):
        sample_teacher(3, 4, generator, indices=5)
    with pytest.raises(ValueError, match="noise"):
        sample_teacher(3, 4, generator, noise=-1.0)
