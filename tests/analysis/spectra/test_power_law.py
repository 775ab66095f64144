"""Power-law fits agree with a slow fit, recover known tails and refuse spectra without one."""

import numpy as np
import pytest

from analysis.spectra.heavy_tails import simulate_wishart_spectrum
from analysis.spectra.power_law import fit_power_law, hill_exponent
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


@pytest.mark.parametrize("values", [np.ones(50), np.arange(1.0, 6.0), np.zeros(40)])
def test_spectra_without_a_tail_are_refused(values: np.ndarray) -> None:
    with pytest.raises(ValueError, match="more than 10 positive values"):
        fit_power_law(values)


def test_infinite_values_are_refused() -> None:
    with pytest.raises(ValueError, match="infinit"):
        fit_power_law(np.r_[np.arange(1.0, 30.0), np.inf])
    with pytest.raises(ValueError, match="fewer than 2"):
        hill_exponent(np.ones(3))
