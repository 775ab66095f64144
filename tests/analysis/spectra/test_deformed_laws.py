"""Limit laws of conjugate and tangent kernels against simulation and slow iteration."""

import numpy as np
import pytest

from analysis.spectra.deformed_laws import (
    DeformedMarchenkoPastur,
    conjugate_kernel_law,
    deformed_law_of_inputs,
)
from analysis.spectra.marchenko_pastur import MarchenkoPastur, tracy_widom_edge
from analysis.spectra.weights import wasserstein_between, wasserstein_to_law
from tests.references import random_matrix

DEVIATION, SLOPE, SLOPE_SQUARE = 0.62792873, 0.96460869, 1.17780723  # tanh under a standard Gaussian


def tanh_kernels(n: int, seed: int) -> tuple[np.ndarray, int, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    d, h = n // 2, 3 * n // 4
    x, w = generator.standard_normal((n, d)), generator.standard_normal((h, d))
    v = generator.standard_normal(h)
    z = np.tanh(x @ w.T / np.sqrt(d))
    psi = (1 - z**2) / DEVIATION * v
    return x, h, z @ z.T / (DEVIATION**2 * h), (x @ x.T / d) * (psi @ psi.T / h)


def test_a_single_atom_gives_marchenko_pastur() -> None:
    for ratio in (2 / 3, 1.5):
        law, plain = DeformedMarchenkoPastur(np.ones(1), np.ones(1), ratio), MarchenkoPastur(ratio)
        x = np.linspace(0.2, 3.0, 7)
        assert law.upper_edge == pytest.approx(plain.edges[1], rel=1e-9)
        np.testing.assert_allclose(law.density(x, smoothing=1e-7), plain.density(x), atol=1e-5)
        np.testing.assert_allclose(law.cdf(x), plain.cdf(x), atol=2e-3)
    edge, johnstone = law.edge(1500), tracy_widom_edge(1000, 1500)
    assert edge.center == pytest.approx(johnstone.center, rel=1e-3)
    assert edge.scale == pytest.approx(johnstone.scale, rel=1e-3)


def test_density_equals_the_damped_iteration() -> None:
    law = conjugate_kernel_law(40, 20, 30, SLOPE, atoms=30)
    height = 1e-2 * law.upper_edge
    for x in (0.3, 1.0, 3.0, 7.0):
        slow = random_matrix.deformed_density(x, law.population, law.weights, law.ratio, height)
        blurred_atom = law.atom * height / (np.pi * (x**2 + height**2))
        assert law.density(np.array([x]), smoothing=1e-2)[0] + blurred_atom == pytest.approx(slow, rel=1e-6)


def test_total_mass_atom_and_mean() -> None:
    law = conjugate_kernel_law(1000, 500, 750, SLOPE)
    assert law.atom == pytest.approx(0.25)
    grid = np.geomspace(1e-3, law.upper_edge, 500)
    assert np.trapezoid(law.density(grid), grid) == pytest.approx(0.75, abs=0.01)
    assert law.quantile((np.arange(2000) + 0.5) / 2000).mean() == pytest.approx(1.0, abs=0.01)
    assert law.cdf(np.array([-0.1, 0.0, 100.0])).tolist() == pytest.approx([0.0, 0.25, 1.0])


@pytest.mark.parametrize(("n", "bound"), [(250, 0.055), (500, 0.025)])
def test_conjugate_kernel_follows_law_and_gaussian_equivalent(n: int, bound: float) -> None:
    x, h, conjugate, _ = tanh_kernels(n, seed=4)
    spectrum = np.linalg.eigvalsh(conjugate)
    equivalent = random_matrix.gaussian_equivalent_kernels(x, h, SLOPE, SLOPE_SQUARE, np.random.default_rng(9))["ck"]
    assert wasserstein_between(spectrum, np.linalg.eigvalsh(equivalent)) < bound
    for law in (conjugate_kernel_law(n, n // 2, h, SLOPE), deformed_law_of_inputs(x, h, SLOPE)):
        assert wasserstein_to_law(spectrum, law.quantile) < bound
        edge = law.edge(n)
        assert abs(spectrum[-1] - edge.center) < 6 * edge.scale


def test_first_layer_kernel_has_trace_a_and_the_equivalents_spectrum() -> None:
    n = 500
    x, h, _, first = tanh_kernels(n, seed=0)
    assert np.trace(first) / n == pytest.approx(SLOPE_SQUARE, rel=0.1)
    kernels = random_matrix.gaussian_equivalent_kernels(x, h, SLOPE, SLOPE_SQUARE, np.random.default_rng(1))
    spectra = [np.linalg.eigvalsh(k) for k in (first, kernels["first_layer"])]
    assert wasserstein_between(spectra[0] / spectra[0].mean(), spectra[1] / spectra[1].mean()) < 0.05
    np.testing.assert_allclose(kernels["ntk"], kernels["ck"] + kernels["first_layer"])


def test_unnormalized_activations_are_refused() -> None:
    with pytest.raises(ValueError, match="normalize"):
        conjugate_kernel_law(10, 5, 8, slope=1.4)
    with pytest.raises(ValueError, match="population"):
        DeformedMarchenkoPastur(np.array([-1.0]), np.ones(1), 1.0)
    with pytest.raises(ValueError, match="ratio"):
        DeformedMarchenkoPastur(np.ones(1), np.ones(1), -1.0)
    with pytest.raises(ValueError, match="above the real axis"):
        DeformedMarchenkoPastur(np.ones(1), np.ones(1), 1.0).companion(np.array([1.0 + 0j]))
