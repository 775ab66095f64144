"""The toy study: closed forms, seeds that do not mix, critical rates, and the three spectral classes."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from models.two_layer import TwoLayerNet
from pipeline.config.toy import ToyConfig
from pipeline.stages.toy.spectra import ToyResult, run_toy_study
from pipeline.stages.toy.train import (
    make_ensemble,
    tangent_kernel,
    tangent_kernel_critical_rate,
    train_all_seeds,
)
from tests.references import random_matrix

TINY = ToyConfig(samples=40, test_samples=20, steps=12, batch_size=8, seeds=[3, 5], per_decade=2)


def as_module(config: ToyConfig, index: int = 0) -> tuple[TwoLayerNet, torch.Tensor, torch.Tensor]:
    ensemble = make_ensemble(config)
    width, features = config.shape
    net = TwoLayerNet(
        features,
        width,
        parameterization=config.parameterization,
        trained=config.trained,
        center_output=config.center_output,
    )
    with torch.no_grad():
        net.hidden.weight.copy_(ensemble.hidden[index])
        net.readout.weight.copy_(ensemble.readout[index][None])
    if config.center_output:
        net.hidden_start.copy_(ensemble.hidden[index])
        net.readout_start.copy_(ensemble.readout[index][None])
    return net.double(), ensemble.inputs[index].double(), ensemble.targets[index].double()


@pytest.mark.parametrize("parameterization", ["ntk", "standard", "mean_field"])
@pytest.mark.parametrize("trained", ["both", "first"])
def test_closed_form_tangent_kernel_equals_autograd(parameterization: str, trained: str) -> None:
    config = replace(TINY, parameterization=parameterization, trained=trained)
    net, x, _ = as_module(config)
    ensemble = make_ensemble(config)
    hidden, readout = ensemble.hidden[:1].double(), ensemble.readout[:1].double()
    fast = tangent_kernel(ensemble, x[None], hidden, readout, trained)[0]
    slow = random_matrix.tangent_kernel(net, x)
    torch.testing.assert_close(fast, slow, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("options", "make_optimizer"),
    [
        ({"optimizer": "gd", "rate": 5.0}, lambda p: torch.optim.SGD(p, lr=5.0)),
        ({"optimizer": "gd", "rate": 2.0, "momentum": 0.9}, lambda p: torch.optim.SGD(p, lr=2.0, momentum=0.9)),
        ({"optimizer": "adam", "rate": 0.05, "batch_size": None}, lambda p: torch.optim.Adam(p, lr=0.05)),
        ({"optimizer": "adam", "rate": 0.05, "batch_size": None, "trained": "first"}, None),
        (
            {"optimizer": "muon", "rate": 0.05, "batch_size": None, "momentum": 0.9, "trained": "first"},
            lambda p: torch.optim.Muon(p, lr=0.05, weight_decay=0.0, momentum=0.9, adjust_lr_fn="match_rms_adamw"),
        ),
        ({"optimizer": "gd", "rate": 5.0, "center_output": True, "half_loss": False}, None),
    ],
)
def test_batched_training_equals_torch_optimizers(options: dict, make_optimizer: object) -> None:
    config = replace(TINY, rate_unit="absolute", **options)
    allowed = 2e-3 if config.optimizer == "muon" else 2e-4  # torch orthogonalizes in bfloat16
    last: list[torch.Tensor] = []
    train_all_seeds(config, make_ensemble(config), lambda step, w, v: last.append(w.clone()))
    for index in range(2):
        net, x, y = as_module(config, index)
        parameters = [p for p in net.parameters() if p.requires_grad]
        if make_optimizer is None:
            kind = torch.optim.Adam if config.optimizer == "adam" else torch.optim.SGD
            optimizer = kind(parameters, lr=config.rate)
        else:
            optimizer = make_optimizer(parameters)  # type: ignore[operator]
        for _ in range(config.steps):
            optimizer.zero_grad()
            error = ((net(x)[:, 0] - y) ** 2).mean()
            (error * (0.5 if config.half_loss else 1.0)).backward()
            optimizer.step()
        torch.testing.assert_close(last[-1][index].double(), net.hidden.weight.detach(), rtol=2e-3, atol=allowed)


def test_a_seed_does_not_depend_on_its_neighbors() -> None:
    pair, alone = run_toy_study(TINY), run_toy_study(replace(TINY, seeds=[5]))
    np.testing.assert_allclose(pair.spectra["weight"][1], alone.spectra["weight"][0], rtol=1e-5)
    rows = [row for row in pair.rows if row.seed == 5]
    assert rows[-1].test_error == pytest.approx(alone.rows[-1].test_error, rel=1e-4)
    again = run_toy_study(TINY)
    np.testing.assert_array_equal(pair.spectra["ntk"], again.spectra["ntk"])


def test_shapes_steps_and_traces() -> None:
    found = run_toy_study(TINY)
    assert found.steps == [0, 1, 3, 10, 12]
    ensemble = make_ensemble(TINY)
    assert found.spectra["ck"].shape == (2, len(found.steps), 40)
    phi = ensemble.features(ensemble.inputs, ensemble.hidden)
    width = TINY.shape[0]
    trace = (phi**2).sum((1, 2)) / width
    np.testing.assert_allclose(found.spectra["ck"][:, 0].sum(1), trace.numpy(), rtol=1e-5)
    assert np.sum(found.spectra["ck"][0, 0] == 0) == 40 - width


def test_critical_rate_parts_convergence_from_divergence() -> None:
    config = ToyConfig(samples=120, test_samples=50, optimizer="gd", steps=60, seeds=[0, 1], per_decade=1)
    ensemble = make_ensemble(config)
    top = torch.linalg.eigvalsh(tangent_kernel(ensemble, ensemble.inputs, ensemble.hidden, ensemble.readout))
    torch.testing.assert_close(
        tangent_kernel_critical_rate(config, ensemble), 2 * 120 / top[:, -1], rtol=1e-4, atol=1e-4
    )
    halved = tangent_kernel_critical_rate(replace(config, half_loss=False), ensemble)
    torch.testing.assert_close(2 * halved, tangent_kernel_critical_rate(config, ensemble))
    stable = run_toy_study(replace(config, rate=0.9))
    assert all(row.status == "ok" for row in stable.rows)
    assert max(row.train_error for row in stable.rows[-2:]) < 0.5
    wild = run_toy_study(replace(config, rate=20.0))
    last = wild.rows[-1]
    assert last.status == last.label == "diverged"
    assert 0 < last.diverged_step <= wild.steps[-1] < 60  # it stops once every seed has diverged
    assert last.rate_multiple == pytest.approx(20.0, rel=1e-5)


@pytest.fixture(scope="module")
def lazy() -> ToyResult:
    return run_toy_study(ToyConfig(samples=400, optimizer="gd", rate=0.5, steps=200, seeds=[0, 1, 2], per_decade=1))


@pytest.fixture(scope="module")
def adaptive() -> ToyResult:
    return run_toy_study(
        ToyConfig(
            samples=400,
            optimizer="adam",
            rate=0.2,
            rate_unit="absolute",
            batch_size=None,
            steps=200,
            seeds=[0, 1, 2],
            per_decade=1,
        )
    )


def test_small_rates_keep_the_bulk(lazy: ToyResult) -> None:
    last = lazy.rows[-3:]
    for row in last:
        assert row.label == "invariant" and row.outliers == 0
        assert row.ks_start <= 0.015 and row.ck_ks_start <= 0.015
        assert 0.5 < row.change_operator < 1.0 < row.change_frobenius < 1.4


@pytest.mark.slow
def test_adam_deforms_the_bulk_and_learns_features(lazy: ToyResult, adaptive: ToyResult) -> None:
    assert np.mean([row.alignment for row in adaptive.rows[-3:]]) > 0.3
    for still, moved in zip(lazy.rows[-3:], adaptive.rows[-3:], strict=True):
        assert moved.label == "heavy/deformed"
        assert moved.kta > 2 * still.kta
        assert moved.ck_movement > 3 * still.ck_movement
        assert moved.test_error < still.test_error


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optimizer": "lion"}, "toy.optimizer=lion is not one of"),
        ({"trained": "last"}, "toy.trained=last is not one of"),
        ({"optimizer": "adam"}, "rate_unit=absolute"),
        ({"optimizer": "adam", "rate_unit": "absolute", "momentum": 0.9}, "momentum belongs to"),
        ({"seeds": [1, 1]}, "toy.seeds holds 1 twice"),
        ({"seeds": []}, "toy.seeds is empty"),
        ({"rate_unit": "relative"}, "toy.rate_unit=relative is not one of"),
        ({"steps": 0}, "toy.steps=0 is below 1"),
        ({"batch_size": 41}, "batch_size must be between"),
        ({"rate": math.nan}, "rate"),
    ],
)
def test_bad_configurations_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_ensemble(replace(TINY, **options))


@pytest.mark.slow
def test_the_tangent_kernels_bulk_stays_where_the_readout_does(lazy: ToyResult) -> None:
    first = run_toy_study(replace(lazy.config, trained="first", seeds=[0]))
    row, both = first.rows[-1], lazy.rows[-3]
    assert row.readout_growth == 1.0 and row.ntk_ks_start <= 0.015
    assert both.readout_growth > 1.02 and both.ntk_ks_start > 0.03


def test_caps_keep_the_ratios() -> None:
    capped = ToyConfig(samples=2000, width=1500, features=1000, limit_samples=40, limit_steps=10).capped()
    assert (capped.samples, capped.shape, capped.steps, capped.batch) == (40, (30, 20), 10, 32)
    assert TINY.capped() is TINY


def test_the_kernels_trace_is_the_norm_of_the_features(lazy: ToyResult) -> None:
    ensemble = make_ensemble(lazy.config)
    phi = ensemble.features(ensemble.inputs, ensemble.hidden).double()
    width, _ = lazy.config.shape
    expected = (phi**2).sum((1, 2)).numpy() / width
    np.testing.assert_allclose(lazy.spectra["ck"][:, 0].sum(1), expected, rtol=1e-5)
