"""Exponents are printed for real tails, and withheld on noise and on a bulk with spikes."""

import numpy as np
import pytest
from scipy.stats import ks_2samp, kstest

from analysis.spectra.heavy_tails import (
    gaussian_null,
    shuffled_null,
    simulate_wishart_spectrum,
    tail_report,
)
from analysis.spectra.power_law import hill_exponent
from tests.references import random_matrix


def pareto(alpha: float, size: int, generator: np.random.Generator) -> np.ndarray:
    return (1 - generator.random(size)) ** (-1 / (alpha - 1))


def test_bidiagonal_model_has_the_law_of_the_dense_one() -> None:
    generator = np.random.default_rng(0)
    fast = [simulate_wishart_spectrum(30, 20, generator) for _ in range(400)]
    slow = [random_matrix.wishart_spectrum(30, 20, generator) for _ in range(400)]
    for statistic in (np.min, np.max, np.median, np.sum):
        pair = [[statistic(s) for s in draws] for draws in (fast, slow)]
        assert ks_2samp(*pair).pvalue > 0.005
    assert simulate_wishart_spectrum(20, 30, generator).shape == (20,)


def test_p_values_on_noise_are_uniform() -> None:
    null = gaussian_null(120, 80, 200, seed=0)
    generator = np.random.default_rng(11)
    reports = [tail_report(simulate_wishart_spectrum(120, 80, generator), null) for _ in range(120)]
    for name in ("p_distance", "p_alpha"):
        assert kstest([getattr(r, name) for r in reports], "uniform").pvalue > 0.005
    withheld = [r.alpha is None for r in reports]
    assert np.mean(withheld) > 0.9
    assert "not distinguishable from null (p" in next(r for r in reports if r.alpha is None).statement


def test_published_fits_on_noise_are_reproduced() -> None:
    null = gaussian_null(750, 500, 40, seed=3)
    assert 3 < null.alpha.min() < null.alpha.max() < 45  # an exponent alone proves nothing
    assert 0.08 < null.distance.min() < null.distance.max() < 0.16
    spectrum = simulate_wishart_spectrum(1500, 1000, np.random.default_rng(0))
    assert 2.42 < hill_exponent(spectrum) < 2.49


def test_a_real_tail_is_reported() -> None:
    generator = np.random.default_rng(2)
    report = tail_report(pareto(2.2, 200, generator), gaussian_null(300, 200, 60, seed=0))
    assert report.alpha == report.fit.alpha
    assert report.p_distance <= 0.05 and report.p_alpha <= 0.05
    assert report.statement.startswith("alpha =")


def test_shuffling_keeps_entries_and_destroys_structure() -> None:
    generator = np.random.default_rng(0)
    noise = generator.standard_normal((90, 60))
    left = np.linalg.qr(generator.standard_normal((90, 60)))[0]
    right = np.linalg.qr(generator.standard_normal((60, 60)))[0]
    heavy = left @ np.diag(np.sqrt(pareto(1.8, 60, generator))) @ right.T
    report = tail_report(np.linalg.svd(heavy, compute_uv=False) ** 2, shuffled_null(heavy, 60, seed=1))
    assert report.alpha is not None
    same = shuffled_null(noise, 3, seed=1)
    again = shuffled_null(noise.astype(np.float32), 3, seed=1)
    np.testing.assert_allclose(same.alpha, again.alpha, rtol=1e-3)


@pytest.mark.parametrize(("spikes", "top"), [(10, 8.0), (20, 20.0), (40, 20.0)])
def test_a_bulk_with_bounded_spikes_gets_no_exponent(spikes: int, top: float) -> None:
    generator = np.random.default_rng(3)
    null = gaussian_null(400, 200, 99, seed=0)
    for _ in range(3):
        left = np.linalg.qr(generator.standard_normal((400, spikes)))[0]
        right = np.linalg.qr(generator.standard_normal((200, spikes)))[0]
        planted = left * np.linspace(1.3, top**0.5, spikes) @ right.T
        weight = generator.standard_normal((400, 200)) / 20 + planted
        report = tail_report(np.linalg.svd(weight, compute_uv=False) ** 2, null)
        assert report.p_alpha <= 0.05, "noise alone does not explain the spikes, so another law must"
        assert report.alpha is None and "better fitted by bulk and spikes" in report.statement


def test_heavy_entries_give_a_tail_that_no_other_law_explains() -> None:
    """In at least six of eight weights with Student-t entries of 1.5 degrees of freedom (exponent near 1.75)."""
    generator = np.random.default_rng(5)
    null = gaussian_null(300, 200, 60, seed=0)
    weights = (generator.standard_t(1.5, size=(300, 200)) for _ in range(8))
    reports = [tail_report(np.linalg.svd(weight, compute_uv=False) ** 2, null) for weight in weights]
    found = [report.alpha for report in reports if report.alpha is not None]
    assert len(found) >= 6 and 1.4 < min(found) < max(found) < 2.4
    assert all(report.rivals[0].log_ratio > 10 for report in reports), "bounded spikes are far worse"
