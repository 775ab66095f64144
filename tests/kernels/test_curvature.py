"""Products with Hessian and Gauss-Newton matrix are those of the explicit matrices, and so are their spectra."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from kernels import LossCurvature, curvature_spectrum, kernel_matrix
from kernels.curvature import lanczos_bytes, require_lanczos_memory
from tests.kernels.cases import BY_NAME, CASES, make
from tests.references.loss_curvature import difference_of_gradients, gauss_newton, hessian

FEW = ("mlp", "mlp_one_output", "frozen_first_layer", "tied_linear", "batchnorm1d", "prelu", "used_twice")
"""Cases of few parameters, whose whole matrices are formed."""


REFUSED = {
    "embedding_bag_mean": "torch has no second derivative",
    "embedding_bag_sum": "torch has no second derivative",
    "embedding_bag_max": "torch has no second derivative",
    "weight_norm": "products with the Hessian are not symmetric",
}
"""Cases whose Hessian torch cannot give: it has no second derivative, or a wrong one."""
CONSTANT = {"derived_weights"}
"""Cases that hold a number constant which depends on a parameter: a difference of gradients would see it move."""


def cross_entropy(labels):
    def loss(f, rows=slice(None)):
        f = f[:, None] if f.ndim == 1 else f
        if f.shape[1] == 1:
            return F.binary_cross_entropy_with_logits(f[:, 0], labels[rows].to(f))
        return F.cross_entropy(f, labels[rows])

    return loss


def relative(found, expected):
    return float((found - expected).norm() / expected.norm().clamp_min(1e-12))


@pytest.mark.parametrize("name", FEW)
def test_whole_matrices_are_those_of_the_reference(name):
    model, inputs, labels = make(BY_NAME[name], 5)
    loss = cross_entropy(labels)
    curvature = LossCurvature(model, inputs, loss)
    eye = torch.eye(curvature.width, dtype=torch.float64)
    assert relative(curvature.hessian(eye), hessian(model, inputs, loss)) < 1e-10
    assert relative(curvature.gauss_newton(eye), gauss_newton(model, inputs, loss)) < 1e-10


@pytest.mark.slow
@pytest.mark.parametrize("case", [case for case in CASES if case.name not in CONSTANT], ids=lambda case: case.name)
def test_products_are_those_of_every_shared_case(case):
    model, inputs, labels = make(case, 3)
    loss = cross_entropy(labels)
    curvature = LossCurvature(model, inputs, loss)
    vectors = torch.randn(2, curvature.width, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    if case.name in REFUSED:
        with pytest.raises(ValueError, match=REFUSED[case.name]):
            curvature_spectrum(curvature, "hessian")
        whole = gauss_newton(model, inputs, loss)
        assert relative(curvature.gauss_newton(vectors), vectors @ whole) < 1e-9
        return
    parts = curvature.jacobian.parameters
    for vector in vectors:  # rows of padding get no gradient, so that no step goes there
        for (name, p), part in zip(parts.items(), vector.split(curvature.jacobian.sizes), strict=True):
            module = model.get_submodule(name.rpartition(".")[0])
            if getattr(module, "padding_idx", None) is not None:
                part.view_as(p)[module.padding_idx] = 0
    expected = torch.stack([difference_of_gradients(model, inputs, loss, one) for one in vectors])
    assert relative(curvature.hessian(vectors), expected) < 1e-5
    whole = gauss_newton(model, inputs, loss)
    assert relative(curvature.gauss_newton(vectors), vectors @ whole) < 1e-9


def test_batches_change_nothing(monkeypatch):
    model, inputs, labels = make(BY_NAME["mlp"], 7)
    vectors = torch.randn(2, sum(p.numel() for p in model.parameters()), dtype=torch.float64)
    whole = LossCurvature(model, inputs, cross_entropy(labels))
    monkeypatch.setattr("kernels.curvature.ROWS", 3)
    parts = LossCurvature(model, inputs, cross_entropy(labels))
    assert len(parts.jacobian.cuts()) == 3
    for product in ("hessian", "gauss_newton"):
        torch.testing.assert_close(getattr(parts, product)(vectors), getattr(whole, product)(vectors))


def test_under_squared_error_the_gauss_newton_matrix_has_the_eigenvalues_of_the_kernel():
    model, inputs, _ = make(BY_NAME["mlp"], 6)
    targets = torch.randn(6, 3, dtype=torch.float64)
    curvature = LossCurvature(model, inputs, lambda f, rows: F.mse_loss(f, targets[rows]))
    found = curvature_spectrum(curvature, "gauss_newton", count=18, products=60)
    kernel = kernel_matrix(model, inputs, kind="entk", normalize=False, precision="float64").matrix
    whole = kernel.permute(0, 2, 1, 3).reshape(18, 18)
    expected = torch.linalg.eigvalsh(whole).flip(0).numpy() * 2 / (6 * 3)
    np.testing.assert_allclose(found.top.values, expected, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("matrix", ["hessian", "gauss_newton"])
def test_the_spectrum_is_that_of_the_explicit_matrix(matrix):
    model, inputs, labels = make(BY_NAME["mlp"], 6)
    loss = cross_entropy(labels)
    expected = np.linalg.eigvalsh({"hessian": hessian, "gauss_newton": gauss_newton}[matrix](model, inputs, loss))[::-1]
    curvature = LossCurvature(model, inputs, loss)
    found = curvature_spectrum(curvature, matrix, count=5, tolerance=1e-8, steps=60, probes=8)
    np.testing.assert_allclose(found.top.values, expected[:5], rtol=1e-7)
    assert found.top.converged and (found.top.errors < 1e-6).all()
    density = found.density
    assert density.weights.sum() == pytest.approx(1) and (np.diff(density.nodes) >= 0).all()
    assert density.nodes[0] == pytest.approx(expected[-1], abs=1e-6 * expected[0])
    for power in (1, 2):  # trace and squared norm, each estimated by the probes
        spread = 4 * np.sqrt(2 * (expected ** (2 * power)).sum() / 8) / len(expected)
        assert (density.weights * density.nodes**power).sum() == pytest.approx((expected**power).mean(), abs=spread)


def test_a_diagonal_hessian_has_its_exact_density_from_one_probe():
    model = nn.Linear(4, 1, bias=False).double()
    points = torch.diag(torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64))
    curvature = LossCurvature(model, points, lambda f, rows: (f**2).mean())
    found = curvature_spectrum(curvature, count=9)
    np.testing.assert_allclose(found.top.values, np.array([16, 9, 4, 1]) / 2, rtol=1e-12)
    np.testing.assert_allclose(found.density.nodes, np.array([1, 4, 9, 16]) / 2, rtol=1e-12)
    np.testing.assert_allclose(found.density.weights, 0.25, rtol=1e-12)


def test_a_repeated_eigenvalue_is_found_as_often_as_it_occurs():
    model = nn.Linear(3, 2, bias=False).double()  # each output has the same matrix of squares
    points = torch.randn(8, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    curvature = LossCurvature(model, points, lambda f, rows: (f**2).mean())
    expected = np.repeat(np.linalg.eigvalsh(points.T @ points / 8)[::-1], 2)
    np.testing.assert_allclose(curvature_spectrum(curvature, count=4).top.values, expected[:4], rtol=1e-6)


def test_the_network_is_given_back_as_it_was():
    model = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.Linear(4, 2)).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    curvature = LossCurvature(model, torch.randn(5, 3), lambda f, rows: f.square().mean())
    curvature.hessian(torch.ones(1, curvature.width))
    assert model.training and all(p.requires_grad and p.grad is None for p in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


class Centered(nn.Linear):
    """A layer whose outputs have no mean over a batch."""

    def __init__(self) -> None:
        super().__init__(3, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z = super().forward(x)
        return z - z.mean(0)


def test_what_cannot_be_measured_is_refused():
    model, points = nn.Linear(3, 2), torch.randn(5, 3)
    with pytest.raises(ValueError, match="no parameter needs a gradient"):
        LossCurvature(nn.Linear(3, 2).requires_grad_(False), points, lambda f, rows: f.mean())
    with pytest.raises(ValueError, match="depends on the other samples of its batch"):
        LossCurvature(Centered(), points, lambda f, rows: f.square().mean())
    curvature = LossCurvature(model, points, lambda f, rows: f.square().mean())
    with pytest.raises(ValueError, match="use one of hessian, gauss_newton"):
        curvature_spectrum(curvature, "fisher")
    with pytest.raises(ValueError, match="probes=0 must be a whole number from 1"):
        curvature_spectrum(curvature, probes=0)
    with pytest.raises(ValueError, match=r"take up to 2 KiB, more than memory=1KB"):
        curvature_spectrum(curvature, products=10, steps=41, memory="1KB")
    with pytest.raises(ValueError, match="loss of samples 0 to 4 is NaN or infinite"):
        LossCurvature(model, points, lambda f, rows: f.mean() / 0 * 0).hessian(torch.ones(1, 8))
    with pytest.raises(ValueError, match="loss='cross_entropy' is no function"):
        LossCurvature(model, points, "cross_entropy")
    with pytest.raises(ValueError, match="loss must take the logits of some samples and their places"):
        LossCurvature(model, points, lambda f: f.mean())
    with pytest.raises(ValueError, match=r"vectors of shape \(1, 7\) must be rows of 8 parameters"):
        LossCurvature(model, points, lambda f, rows: f.mean()).hessian(torch.ones(1, 7))
    for product in ("hessian", "gauss_newton"):
        with pytest.raises(ValueError, match=r"is shape \(5, 2\): it must be one number"):
            getattr(LossCurvature(model, points, lambda f, rows: f.square()), product)(torch.ones(1, 8))
    assert require_lanczos_memory(1000, 10, 4, "1MB") == lanczos_bytes(1000, 10, 4) == 320_000


@pytest.mark.parametrize("matrix", ["hessian", "gauss_newton"])
def test_eigenvalues_are_those_of_hessian_eigenthings(matrix):
    peer = pytest.importorskip("hessian_eigenthings", reason="hessian-eigenthings is not installed")
    model, inputs, labels = make(BY_NAME["mlp"], 12)
    found = curvature_spectrum(LossCurvature(model, inputs, cross_entropy(labels)), matrix, count=5).top.values
    batches = [(inputs, labels)]
    if matrix == "hessian":
        operator = peer.HessianOperator(model, batches, peer.supervised_loss(F.cross_entropy))
    else:
        of_output = peer.supervised_loss_of_output(F.cross_entropy)
        operator = peer.GGNOperator(model, batches, peer.supervised_forward, of_output)
    theirs = peer.lanczos(operator, k=5, seed=0, which="LA", max_iter=50).eigenvalues
    np.testing.assert_allclose(found, np.sort(theirs.numpy())[::-1], rtol=1e-3)
