"""Kernels too large to diagonalize: the size is said first, and Lanczos gives the spectrum."""

import numpy as np
import pytest

from analysis.spectra.lanczos import KernelTooLargeError, require_dense_kernel, spectral_density


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
