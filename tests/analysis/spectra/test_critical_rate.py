"""The critical rate against a dense Gauss-Newton matrix, the tangent kernel, and actual divergence."""

import pytest
import torch
from torch import nn

from analysis.spectra.critical_rate import gauss_newton_critical_rate, gauss_newton_top
from models.losses import loss_named


def network(outputs: int) -> tuple[nn.Module, torch.Tensor]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, outputs)).double()
        return net, torch.randn(6, 5, dtype=torch.float64)


def dense(net: nn.Module, x: torch.Tensor, loss, parameters: list) -> float:
    out = net(x)
    rows = []
    for entry in out.reshape(-1):
        rows.append(torch.cat([g.reshape(-1) for g in torch.autograd.grad(entry, parameters, retain_graph=True)]))
    jacobian = torch.stack(rows)
    hessian = torch.autograd.functional.hessian(lambda f: loss(f.reshape(out.shape)), out.detach().reshape(-1))
    return float(torch.linalg.eigvalsh(jacobian.T @ hessian @ jacobian)[-1])


@pytest.mark.parametrize(("name", "outputs"), [("cross_entropy", 3), ("bce", 1), ("mse", 3), ("regression", 1)])
def test_power_iteration_equals_the_dense_matrix(name: str, outputs: int) -> None:
    net, x = network(outputs)
    labels = torch.arange(6) % max(2, outputs) if name != "regression" else torch.arange(6.0).double()
    loss = loss_named(name)
    parameters = list(net.parameters())
    value = gauss_newton_top(
        net(x), lambda f: loss(f, labels), parameters, torch.Generator().manual_seed(0), iterations=500, tolerance=1e-8
    )
    assert value == pytest.approx(dense(net, x, lambda f: loss(f, labels), parameters), rel=1e-5)


def test_a_linear_model_diverges_just_above_it() -> None:
    net = nn.Linear(5, 1, bias=False).double()
    _, x = network(1)
    y = torch.arange(6.0).double()
    parameters = list(net.parameters())
    rate = gauss_newton_critical_rate(
        net(x), lambda f: 0.5 * ((f[:, 0] - y) ** 2).mean(), parameters, torch.Generator().manual_seed(0)
    )
    top = float(torch.linalg.eigvalsh(x @ x.T)[-1])
    assert rate == pytest.approx(2 * 6 / top, rel=1e-3)
    for multiple, grows in ((0.9, False), (1.2, True)):
        w = torch.zeros(5, dtype=torch.float64)
        for _ in range(300):
            w = w - multiple * rate * x.T @ (x @ w - y) / 6
        assert bool(w.norm() > 1e6) == grows


def test_flat_losses_and_detached_outputs_are_refused() -> None:
    net, x = network(1)
    generator = torch.Generator().manual_seed(0)
    with pytest.raises(ValueError, match="no critical rate"):
        gauss_newton_top(net(x), lambda f: f.sum(), list(net.parameters()), generator)
    with pytest.raises(ValueError, match="no graph"):
        gauss_newton_top(net(x).detach(), lambda f: f.sum(), list(net.parameters()), generator)
