"""Kernels too large to diagonalize: the size is said first, and Lanczos gives eigenvalues, bounds and the spectrum."""

import numpy as np
import pytest

from kernels.operator.lanczos import (
    KernelTooLargeError,
    require_dense_kernel,
    spectral_density,
    top_eigenpairs,
    tridiagonals,
)


def test_density_matches_the_spectrum() -> None:
    generator = np.random.default_rng(0)
    factor = generator.standard_normal((400, 300)) / np.sqrt(300)
    kernel = factor @ factor.T
    exact = np.linalg.eigvalsh(kernel)
    found = spectral_density(lambda v: factor @ (factor.T @ v), 400, generator, steps=60, probes=8)
    assert found.weights.sum() == pytest.approx(1.0)
    assert found.nodes[-1] == pytest.approx(exact[-1], rel=1e-6)
    grid = np.linspace(0.05, exact[-1], 50)
    share = np.searchsorted(exact, grid, side="right") / 400
    assert np.max(np.abs(found.cdf(grid) - share)) < 0.05
    assert found.nodes @ found.weights == pytest.approx(exact.mean(), rel=0.05)


def test_low_rank_operators_end_early() -> None:
    found = spectral_density(lambda v: 2.0 * v, 30, np.random.default_rng(0), steps=10, probes=2)
    np.testing.assert_allclose(found.nodes, 2.0)


def test_size_is_said_before_allocation() -> None:
    assert require_dense_kernel(1000, 2**30) == 8_000_000
    with pytest.raises(KernelTooLargeError, match=r"50000 x 50000 kernel takes 18.63 GiB.*spectral_density"):
        require_dense_kernel(50_000, 2**30)
    with pytest.raises(ValueError, match="positive"):
        spectral_density(lambda v: v, 0, np.random.default_rng(0))


def kernel_of(values: np.ndarray, seed: int = 0) -> np.ndarray:
    basis = np.linalg.qr(np.random.default_rng(seed).standard_normal((len(values), len(values))))[0]
    return (basis * values) @ basis.T


@pytest.mark.parametrize("block", [1, 3])
def test_eigenvalues_lie_within_their_residuals(block: int) -> None:
    values = np.sort(1.0 / np.arange(1, 201) ** 1.5)[::-1]
    kernel = kernel_of(values)
    for seed in range(2):
        for products in (20, 300):
            found = top_eigenpairs(
                kernel.__matmul__, 200, 6, np.random.default_rng(seed), products=products, block=block, rounding=1e-15
            )
            gaps = np.abs(found.values[:, None] - values[None]).min(1)
            assert (gaps <= found.errors + 1e-14).all() and (found.values <= values[:6] + 1e-14).all()
            np.testing.assert_allclose(found.vectors.T @ found.vectors, np.eye(6), atol=1e-12)
            assert found.products <= products + block
        assert found.converged and np.abs(found.values - values[:6]).max() < 1e-6


@pytest.mark.parametrize("copies", [2, 3, pytest.param(5, marks=pytest.mark.slow)])
def test_repeated_eigenvalues_are_all_found(copies: int) -> None:
    values = np.sort(np.concatenate([np.full(copies, 3.0), np.full(copies, 2.0), 1.0 / np.arange(1, 100)]))[::-1]
    kernel = kernel_of(values)
    for seed in range(3):
        found = top_eigenpairs(kernel.__matmul__, len(values), 2 * copies, np.random.default_rng(seed))
        np.testing.assert_allclose(found.values, values[: 2 * copies], rtol=1e-5)


def test_operators_of_low_rank_and_of_one_row() -> None:
    kernel = kernel_of(np.array([2.0] * 3 + [0.0] * 37))
    found = top_eigenpairs(kernel.__matmul__, 40, 5, np.random.default_rng(0))
    np.testing.assert_allclose(found.values, [2, 2, 2, 0, 0], atol=1e-10)
    one = top_eigenpairs(lambda x: 4.0 * x, 1, 1, np.random.default_rng(0))
    assert one.values.tolist() == [4.0] and one.converged and "4 +- 0.0e+00\n1 products, converged" in str(one)


def test_the_two_rules_enclose_an_entropy() -> None:
    values = 1.0 / np.arange(1, 81)
    kernel = kernel_of(values)
    start = np.random.default_rng(3).standard_normal(80)
    start /= np.linalg.norm(start)
    eigenvalues, vectors = np.linalg.eigh(kernel)
    truth = float((vectors.T @ start) ** 2 @ -(eigenvalues * np.log(eigenvalues)))
    widths = []
    for steps in (1, 2, 5, 12):
        run = tridiagonals(kernel.__matmul__, start[:, None], steps)[0]
        upper, lower = (
            float(weights @ -(nodes * np.log(np.maximum(nodes, 1e-300))))
            for nodes, weights in (run.gauss(), run.radau())
        )
        assert lower - 1e-12 <= truth <= upper + 1e-12
        widths.append(upper - lower)
    assert widths == sorted(widths, reverse=True) and widths[-1] < 0.01 * truth
