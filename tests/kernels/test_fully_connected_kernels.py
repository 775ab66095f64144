"""Conjugate kernel and NTK of fully connected networks where both are known in closed form."""

import torch
from torch import nn

from kernels import kernel_matrix

EXACT = {"normalize": False, "precision": "float64"}


def points(n=7, d=3):
    return torch.randn(n, d, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def seeded(*layers):
    generator = torch.Generator().manual_seed(1)
    network = nn.Sequential(*layers).double().eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, dtype=torch.float64, generator=generator) / 2)
    return network


def test_one_affine_map_has_the_linear_kernel_twice():
    x = points()
    expected = x @ x.T + 1
    for options in ({"kind": "conjugate", "append_one": True}, {"kind": "pntk"}):
        found = kernel_matrix(seeded(nn.Linear(3, 1)), x, **options, **EXACT).matrix
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_two_maps_without_activation_give_the_kernel_of_the_first():
    x, network = points(), seeded(nn.Linear(3, 5, bias=False), nn.Linear(5, 1, bias=False))
    first = network[0].weight.detach()
    found = kernel_matrix(network, x, kind="conjugate", **EXACT).matrix
    torch.testing.assert_close(found, x @ first.T @ first @ x.T, rtol=1e-12, atol=1e-12)


def test_the_conjugate_kernel_ignores_output_weights_unit_order_and_batches():
    x, network = points(), seeded(nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, 1))
    before = kernel_matrix(network, x, kind="conjugate", **EXACT).matrix
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    with torch.no_grad():
        network[2].weight.mul_(-7.0)
        network[2].bias.add_(3.0)
        network[0].weight.copy_(network[0].weight[order])
        network[0].bias.copy_(network[0].bias[order])
        network[2].weight.copy_(network[2].weight[:, order])
    after = kernel_matrix(network, x, kind="conjugate", **EXACT).matrix
    torch.testing.assert_close(after, before, rtol=1e-10, atol=1e-10)
    rows = [kernel_matrix(network, x, x[i : i + 1], kind="conjugate", **EXACT).matrix for i in range(len(x))]
    torch.testing.assert_close(torch.cat(rows), before, rtol=1e-10, atol=1e-10)
