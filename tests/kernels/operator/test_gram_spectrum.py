"""Leading eigenvalues and effective rank of a Gram matrix from products agree with the whole decomposition."""

import pytest
import torch

from kernels import effective_rank, kernel_spectrum
from kernels.operator.gram_spectrum import leading_spectrum


def gram(n=300, dtype=torch.float64):
    points = torch.randn(n, 40, generator=torch.Generator().manual_seed(0), dtype=dtype)
    return torch.exp(-(torch.cdist(points * torch.arange(1, 41) ** -1.0, points * torch.arange(1, 41) ** -1.0) ** 2))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_values_lie_within_their_errors_and_the_rank_within_its_interval(dtype):
    kernel = gram().to(dtype)
    whole, found = kernel_spectrum(kernel), leading_spectrum(kernel, 20)
    assert ((whole[:20] - found.values).abs() <= found.errors + 1e-12).all()
    assert (found.errors <= 2e-5 * whole[0]).all()
    assert found.trace == pytest.approx(float(whole.sum()), rel=1e-6)
    ranks = [leading_spectrum(kernel, 1, seed=seed).effective_rank for seed in range(12)]
    assert sum(effective_rank(whole) in rank for rank in ranks) >= 10 and ranks[0].confidence == 0.95
    assert max(rank.error for rank in ranks) < 0.03 * effective_rank(whole)
    again = leading_spectrum(kernel, 20)
    assert torch.equal(again.values, found.values) and again.effective_rank == found.effective_rank


def test_few_points_are_diagonalized():
    kernel = gram(40)
    found = leading_spectrum(kernel, 40)
    torch.testing.assert_close(found.values, kernel_spectrum(kernel))
    assert found.effective_rank.method == "all eigenvalues"


@pytest.mark.parametrize(
    ("words", "kernel", "count"),
    [
        ("count=4: a kernel of 3 points", torch.eye(3), 4),
        ("not finite", torch.eye(3) * float("nan"), 1),
        ("not symmetric", torch.eye(3) + torch.triu(torch.ones(3, 3)), 1),
    ],
)
def test_refusals(words, kernel, count):
    with pytest.raises(ValueError, match=words):
        leading_spectrum(kernel, count)
