"""The Marchenko-Pastur law, its edge and its fit to noise."""

import numpy as np
import pytest

from analysis.spectra.heavy_tails import simulate_wishart_spectrum
from analysis.spectra.marchenko_pastur import MarchenkoPastur, fit_variance, tracy_widom_edge
from analysis.spectra.weights import ks_to_law, wasserstein_to_law
from tests.references import random_matrix

CASES = [(0.1, 1.0), (2 / 3, 1.0), (2 / 3, 0.02), (1.0, 1.0), (1.5, 1.0), (4.0, 3.0)]


@pytest.mark.parametrize(("ratio", "variance"), CASES)
def test_cdf_equals_the_integral_of_the_density(ratio: float, variance: float) -> None:
    law = MarchenkoPastur(ratio, variance)
    low, high = law.edges
    points = np.linspace(low + 1e-3 * (high - low), high * 1.1, 9)
    slow = [random_matrix.marchenko_pastur_cdf(float(x), ratio, variance) for x in points]
    np.testing.assert_allclose(law.cdf(points), slow, atol=2e-6)
    step = 1e-5 * high
    slope = (law.cdf(points[:-1] + step) - law.cdf(points[:-1] - step)) / (2 * step)
    np.testing.assert_allclose(slope, law.density(points[:-1]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("ratio", "variance"), CASES)
def test_quantile_inverts_the_cdf(ratio: float, variance: float) -> None:
    law = MarchenkoPastur(ratio, variance)
    p = law.atom + (1 - law.atom) * np.linspace(0.01, 1.0, 12)
    np.testing.assert_allclose(law.cdf(law.quantile(p)), p, atol=1e-9)
    assert law.cdf(np.array([-1.0, law.edges[1] * 2])).tolist() == [0.0, 1.0]
    if law.atom:
        assert law.quantile(np.array([0.5 * law.atom]))[0] == 0.0


def test_edges_at_the_published_shape() -> None:
    low, high = MarchenkoPastur(1000 / 1500).edges
    assert (round(low, 4), round(high, 4)) == (0.0337, 3.2997)
    assert round(tracy_widom_edge(1500, 1000).threshold(), 3) == 3.371


def test_noise_is_about_three_over_d_from_the_law_and_never_four_scales_out() -> None:
    generator = np.random.default_rng(7)
    law, edge = MarchenkoPastur(2 / 3), tracy_widom_edge(750, 500)
    distances, deviations = [], []
    for _ in range(27):
        spectrum = simulate_wishart_spectrum(750, 500, generator)
        distances.append(ks_to_law(spectrum, law.cdf))
        deviations.append((spectrum.max() - edge.center) / edge.scale)
    assert 2 / 500 < np.mean(distances) < 4 / 500
    assert max(distances) < 6 / 500
    assert max(deviations) < 4
    assert -2.2 < np.mean(deviations) < -0.3  # Tracy-Widom of order one: mean -1.21, deviation 1.27


def test_wasserstein_distance_shrinks_with_size() -> None:
    generator = np.random.default_rng(3)
    law = MarchenkoPastur(2 / 3)
    small, large = (
        wasserstein_to_law(simulate_wishart_spectrum(3 * n, 2 * n, generator), law.quantile) for n in (40, 400)
    )
    assert large < 0.3 * small


def test_variance_fit_ignores_spikes_and_structural_zeros() -> None:
    generator = np.random.default_rng(0)
    spectrum = 0.05 * simulate_wishart_spectrum(600, 400, generator)
    assert fit_variance(spectrum, 2 / 3) == pytest.approx(0.05, rel=0.01)
    spiked = np.concatenate([spectrum[:-5], np.full(5, 4.0)])
    assert fit_variance(spiked, 2 / 3) == pytest.approx(0.05, rel=0.02)
    wide = 0.05 * simulate_wishart_spectrum(400, 600, generator)
    padded = np.concatenate([wide, np.zeros(200)])
    assert fit_variance(wide, 1.5) == pytest.approx(0.05, rel=0.02)
    assert fit_variance(padded, 1.5) == pytest.approx(0.05, rel=0.02)


@pytest.mark.parametrize(("ratio", "variance"), [(0.0, 1.0), (-1.0, 1.0), (1.0, 0.0), (float("nan"), 1.0)])
def test_impossible_laws_are_refused(ratio: float, variance: float) -> None:
    with pytest.raises(ValueError, match="must be"):
        MarchenkoPastur(ratio, variance)


def test_a_zero_weight_has_no_variance() -> None:
    with pytest.raises(ValueError, match="zero"):
        fit_variance(np.zeros(10), 0.5)
    with pytest.raises(ValueError, match="probabilities"):
        MarchenkoPastur(0.5).quantile(np.array([1.5]))
    with pytest.raises(ValueError, match="rows"):
        tracy_widom_edge(1, 5)
