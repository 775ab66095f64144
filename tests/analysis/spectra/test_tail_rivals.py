"""Which law a tail prefers."""

import numpy as np
import pytest
from scipy import integrate

from analysis.spectra.marchenko_pastur import MarchenkoPastur
from analysis.spectra.power_law import PowerLawFit, fit_power_law
from analysis.spectra.tail_rivals import bulk_and_spikes_ratio, likelihood_ratios
from tests.analysis.spectra.test_power_law import pareto


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


def test_bulk_and_spikes_equals_a_slow_density() -> None:
    """Each law is written as one function of x and normalized by quadrature over the tail."""
    law = MarchenkoPastur(0.5, 1.3)
    bulk = law.quantile((np.arange(180) + 0.5) / 180)
    values = np.append(bulk, np.linspace(4.5, 9.0, 12))
    fit = PowerLawFit(alpha=2.4, x_min=3.0, distance=0.0, tail=int(np.sum(values >= 3.0)))
    scale = float(np.median(values)) / float(MarchenkoPastur(0.5).quantile(np.array([0.5]))[0])
    slow = MarchenkoPastur(0.5, scale)
    edge, tail = slow.edges[1], values[values >= 3.0]
    share = np.mean(tail > edge)
    mass = integrate.quad(lambda x: float(slow.density(np.array([x]))[0]), 3.0, edge, limit=200)[0]
    best = -np.inf
    for shape in (lambda x: 1.0, lambda x: x**-0.5):
        total = integrate.quad(shape, edge, tail.max())[0]
        density = [
            share * shape(x) / total if x > edge else (1 - share) * float(slow.density(np.array([x]))[0]) / mass
            for x in tail
        ]
        best = max(best, float(np.sum(np.log(density))))
    constant = integrate.quad(lambda x: x**-2.4, 3.0, np.inf)[0]
    power = float(np.sum(np.log(tail**-2.4 / constant)))
    assert bulk_and_spikes_ratio(values, fit, 0.5).log_ratio == pytest.approx(power - best, rel=1e-6)
