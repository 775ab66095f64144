"""Laws that a tail may follow instead of a power law: which one its values prefer."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.integrate import quad
from scipy.optimize import minimize
from scipy.special import erfc, log_ndtr

from analysis.spectra.marchenko_pastur import MarchenkoPastur
from analysis.spectra.power_law import PowerLawFit


@dataclass(frozen=True)
class LikelihoodRatio:
    """Power law against another law on the same tail.

    Attributes
    ----------
    alternative : str
        ``exponential``, ``lognormal``, ``truncated`` or ``bulk and spikes``.
    log_ratio : float
        Log likelihood of the power law minus that of the alternative: negative favors the alternative.
    p_value : float
        Two-sided Vuong p-value that the sign is due to chance; for ``truncated``, which contains the
        power law, the likelihood-ratio test with one degree of freedom.
    """

    alternative: str
    log_ratio: float
    p_value: float


def likelihood_ratios(values: Float[np.ndarray, " n"], fit: PowerLawFit) -> list[LikelihoodRatio]:
    """Compare a power-law fit with an exponential, a log-normal and a truncated power law.

    References
    ----------
    Clauset, Shalizi and Newman (2009), arXiv:0706.1062, section 5 and appendix C.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.spectra import likelihood_ratios
    >>> from analysis.spectra.power_law import fit_power_law
    >>> values = 1.0 + np.random.default_rng(0).exponential(size=400)  # no power law, yet the fit returns an exponent
    >>> for found in likelihood_ratios(values, fit_power_law(values, min_tail=200)):
    ...     print(f"{found.alternative}: {found.log_ratio:.1f}")  # negative: fits better than the power law
    exponential: -13.5
    lognormal: -12.9
    truncated: -13.6
    """
    tail = values[values >= fit.x_min].astype(np.float64) / fit.x_min
    logs = np.log(tail)
    power = math.log(fit.alpha - 1) - fit.alpha * logs
    rate = 1.0 / float(np.mean(tail - 1))
    exponential = math.log(rate) - rate * (tail - 1)

    def negative_lognormal(parameters: np.ndarray) -> float:
        return -float(np.sum(_lognormal_tail(logs, parameters[0], math.exp(parameters[1]))))

    start = np.array([float(np.mean(logs)), math.log(float(np.std(logs)) + 1e-3)])
    best = minimize(negative_lognormal, start, method="Nelder-Mead", options={"maxiter": 400})
    lognormal = _lognormal_tail(logs, float(best.x[0]), math.exp(float(best.x[1])))

    def negative_truncated(parameters: np.ndarray) -> float:
        return -float(np.sum(_truncated_tail(logs, parameters[0], math.exp(parameters[1]))))

    corner = minimize(negative_truncated, np.array([fit.alpha, -3.0]), method="Nelder-Mead", options={"maxiter": 200})
    truncated = _truncated_tail(logs, float(corner.x[0]), math.exp(float(corner.x[1])))
    out = [_vuong("exponential", power - exponential), _vuong("lognormal", power - lognormal)]
    gain = min(0.0, float(np.sum(power - truncated)))
    out.append(LikelihoodRatio("truncated", gain, float(erfc(math.sqrt(-gain)))))
    return out


def _lognormal_tail(logs: np.ndarray, mean: float, deviation: float) -> np.ndarray:
    """Log density of a log-normal conditioned on exceeding one, at ``exp(logs)``."""
    z = (logs - mean) / deviation
    beyond = float(log_ndtr(mean / deviation))
    return -logs - math.log(deviation) - 0.5 * math.log(2 * math.pi) - 0.5 * z**2 - beyond


def _truncated_tail(logs: np.ndarray, alpha: float, rate: float) -> np.ndarray:
    """Log density of ``x**-alpha exp(-rate (x - 1))`` on x > 1, at ``exp(logs)``."""
    top = math.log1p(60.0 / rate)
    mass, _ = quad(lambda y: math.exp((1 - alpha) * y - rate * math.expm1(y)), 0.0, top, limit=200)
    if not mass > 0:
        return np.full(logs.shape, -1e6)
    return -alpha * logs - rate * np.expm1(logs) - math.log(mass)


def bulk_and_spikes_ratio(values: Float[np.ndarray, " n"], fit: PowerLawFit, ratio: float) -> LikelihoodRatio:
    """Compare a power-law fit with a Marchenko-Pastur bulk and a few eigenvalues above its edge.

    The bulk's variance comes from the median of all values. What lies above the upper edge is spread evenly up to
    the largest value, in eigenvalues or in singular values, whichever fits better: a bounded law, no tail. Both
    laws are conditioned on the fitted tail, ``x >= fit.x_min``.

    Parameters
    ----------
    values : ndarray (n,)
        The whole spectrum without structural zeros.
    fit : PowerLawFit
        Of these values.
    ratio : float
        ``c`` of the noise, the smaller over the larger side of the weight; in (0, 1].

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.spectra.power_law import fit_power_law
    >>> from analysis.spectra.tail_rivals import bulk_and_spikes_ratio
    >>> rng = np.random.default_rng(0)
    >>> noise = np.linalg.eigvalsh(np.cov(rng.standard_normal((100, 200))))
    >>> spiked, tail = np.append(noise, np.linspace(3.5, 8.0, 10)), 1.0 + rng.pareto(1.5, 110)
    >>> [bulk_and_spikes_ratio(x, fit_power_law(x), 0.5).log_ratio > 0 for x in (spiked, tail)]  # power law preferred?
    [False, True]
    """
    unit = MarchenkoPastur(ratio)
    bulk = MarchenkoPastur(ratio, float(np.median(values)) / float(unit.quantile(np.array([0.5]))[0]))
    tail = np.sort(values[values >= fit.x_min].astype(np.float64))
    edge, top = bulk.edges[1], float(tail[-1])
    start = max(edge, fit.x_min)
    above = tail > start
    share = float(np.mean(above))
    density = np.zeros(tail.size)
    if share < 1.0:
        inside = 1.0 - float(bulk.cdf(np.array([min(fit.x_min, edge)]))[0])
        density += (1.0 - share) * bulk.density(tail) / max(inside, np.finfo(np.float64).tiny)
    if share > 0.0:
        evenly = np.full(tail.size, 1.0 / (top - start))
        in_singular_values = 0.5 / np.sqrt(tail) / (math.sqrt(top) - math.sqrt(start))
        spikes = max(evenly, in_singular_values, key=lambda law: float(np.sum(np.log(law[above]))))
        density += share * np.where(above, spikes, 0.0)
    power = math.log((fit.alpha - 1) / fit.x_min) - fit.alpha * np.log(tail / fit.x_min)
    return _vuong("bulk and spikes", power - np.log(np.maximum(density, 1e-300)))


def _vuong(name: str, difference: np.ndarray) -> LikelihoodRatio:
    """Sum of the differences of log likelihoods and the two-sided p-value of its sign."""
    total = float(np.sum(difference))
    spread = float(np.std(difference)) * math.sqrt(difference.size)
    return LikelihoodRatio(name, total, float(erfc(abs(total) / max(spread, 1e-300) / math.sqrt(2))))
