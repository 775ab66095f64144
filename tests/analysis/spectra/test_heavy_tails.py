"""Power-law fits agree with a slow fit, recover known tails, and stay silent on noise."""

import numpy as np
import pytest
from scipy.stats import ks_2samp, kstest

from analysis.spectra.heavy_tails import (
    fit_power_law,
    gaussian_null,
    hill_exponent,
    likelihood_ratios,
    shuffled_null,
    simulate_wishart_spectrum,
    tail_report,
)
from tests.references import random_matrix


def pareto(alpha: float, size: int, generator: np.random.Generator) -> np.ndarray:
    return (1 - generator.random(size)) ** (-1 / (alpha - 1))


@pytest.mark.parametrize("case", ["pareto", "noise", "ties"])
def test_fit_equals_the_slow_fit(case: str) -> None:
    generator = np.random.default_rng(1)
    values = {
        "pareto": pareto(2.2, 120, generator),
        "noise": simulate_wishart_spectrum(150, 100, generator),
        "ties": np.round(pareto(2.2, 120, generator), 1),
    }[case]
    fit = fit_power_law(values)
    alpha, x_min, distance = random_matrix.power_law_fit(values, min_tail=10)
    assert (fit.alpha, fit.x_min, fit.distance) == pytest.approx((alpha, x_min, distance), rel=1e-9)
    assert fit.tail == np.sum(values >= fit.x_min)


def test_known_exponent_is_recovered() -> None:
    generator = np.random.default_rng(0)
    fits = [fit_power_law(pareto(2.5, 1000, generator)).alpha for _ in range(15)]
    assert np.mean(fits) == pytest.approx(2.5, abs=0.05)
    assert hill_exponent(pareto(2.5, 4000, generator)) == pytest.approx(2.5, abs=0.1)


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


def test_likelihood_ratios_point_the_right_way() -> None:
    generator = np.random.default_rng(0)
    values = pareto(2.5, 2000, generator)
    ratios = {r.alternative: r for r in likelihood_ratios(values, fit_power_law(values))}
    assert ratios["exponential"].log_ratio > 0 and ratios["exponential"].p_value < 0.01
    assert ratios["truncated"].p_value > 0.05
    exponential = 1 + generator.exponential(size=2000)
    fit = fit_power_law(exponential, min_tail=1000)
    ratios = {r.alternative: r for r in likelihood_ratios(exponential, fit)}
    assert ratios["exponential"].log_ratio < 0 and ratios["exponential"].p_value < 0.01
    assert ratios["lognormal"].log_ratio < 0
    assert ratios["truncated"].log_ratio < -5 and ratios["truncated"].p_value < 0.01


@pytest.mark.parametrize("values", [np.ones(50), np.arange(1.0, 6.0), np.zeros(40)])
def test_spectra_without_a_tail_are_refused(values: np.ndarray) -> None:
    with pytest.raises(ValueError, match="more than 10 positive values"):
        fit_power_law(values)


def test_infinite_values_are_refused() -> None:
    with pytest.raises(ValueError, match="infinit"):
        fit_power_law(np.r_[np.arange(1.0, 30.0), np.inf])
    with pytest.raises(ValueError, match="fewer than 2"):
        hill_exponent(np.ones(3))
