"""Power-law tails of a spectrum, reported only when noise of the same shape cannot produce them.

A power-law fit returns an exponent on every spectrum, also on pure Marchenko-Pastur ones. So each fit
here is compared with the same fit on simulated noise, and the exponent is withheld when the two cannot be
distinguished.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float
from scipy.integrate import quad
from scipy.linalg import eigvalsh_tridiagonal
from scipy.optimize import minimize
from scipy.special import erfc, log_ndtr

MIN_TAIL = 10
"""Fewest values above ``x_min`` for a fit to count."""


@dataclass(frozen=True)
class PowerLawFit:
    """Continuous power law ``p(x) ~ x**-alpha`` above ``x_min``.

    Attributes
    ----------
    alpha : float
        Maximum-likelihood exponent.
    x_min : float
        Start of the tail: the candidate with the smallest ``distance``.
    distance : float
        Kolmogorov-Smirnov distance between the tail and its fit.
    tail : int
        Number of values at or above ``x_min``.
    """

    alpha: float
    x_min: float
    distance: float
    tail: int


def fit_power_law(values: Float[np.ndarray, " n"], min_tail: int = MIN_TAIL) -> PowerLawFit:
    """Fit a power law to the upper tail, its start chosen by the KS distance.

    Parameters
    ----------
    values : ndarray (n,)
        Positive values (eigenvalues); zeros and negatives are left out.
    min_tail : int
        Fewest values in the tail.

    References
    ----------
    Clauset, Shalizi and Newman (2009), arXiv:0706.1062, section 3.
    """
    ordered = np.sort(values[values > 0])[::-1].astype(np.float64)
    if not np.all(np.isfinite(ordered)):
        raise ValueError("values hold infinities: mark this spectrum as failed instead of fitting it")
    if ordered.size < min_tail + 1 or ordered[0] == ordered[min_tail - 1]:
        raise ValueError(f"a tail fit needs more than {min_tail} positive values that differ, got {ordered.size}")
    logs = np.log(ordered)
    sums = np.cumsum(logs)
    best: PowerLawFit | None = None
    for size in range(min_tail, ordered.size + 1):
        mean_log = sums[size - 1] / size - logs[size - 1]
        if mean_log <= 0 or (size < ordered.size and ordered[size] == ordered[size - 1]):
            continue
        survival = np.exp((logs[size - 1] - logs[:size]) / mean_log)
        rank = np.arange(size) / size
        distance = max(float(np.max(survival - rank)), float(np.max(rank + 1 / size - survival)))
        if best is None or distance < best.distance:
            best = PowerLawFit(1 + 1 / mean_log, float(ordered[size - 1]), distance, size)
    assert best is not None  # the largest tail always qualifies
    return best


def hill_exponent(values: Float[np.ndarray, " n"], fraction: float = 0.5) -> float:
    """Hill estimate of the density exponent over the upper share of the values.

    Parameters
    ----------
    values : ndarray (n,)
        Positive values.
    fraction : float
        Share of the values in the tail.
    """
    ordered = np.sort(values[values > 0])[::-1]
    size = int(fraction * ordered.size)
    if size < 2:
        raise ValueError(f"the upper {fraction:.0%} of {ordered.size} positive values holds fewer than 2")
    return 1.0 + size / float(np.sum(np.log(ordered[:size] / ordered[size])))


@dataclass(frozen=True)
class LikelihoodRatio:
    """Power law against another law on the same tail.

    Attributes
    ----------
    alternative : str
        ``exponential``, ``lognormal`` or ``truncated``.
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
    >>> from analysis.spectra.heavy_tails import fit_power_law
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
    out = []
    for name, other in (("exponential", exponential), ("lognormal", lognormal)):
        difference = power - other
        spread = float(np.std(difference)) * math.sqrt(tail.size)
        total = float(np.sum(difference))
        out.append(LikelihoodRatio(name, total, float(erfc(abs(total) / max(spread, 1e-300) / math.sqrt(2)))))
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


@dataclass(frozen=True)
class NullFits:
    """Fits of the same kind on noise; both numbers are free of scale."""

    alpha: Float[np.ndarray, " r"]
    distance: Float[np.ndarray, " r"]


def simulate_wishart_spectrum(rows: int, columns: int, generator: np.random.Generator) -> Float[np.ndarray, " k"]:
    """Non-zero eigenvalues of ``Z.T @ Z / rows`` for Gaussian ``Z``, without forming it.

    The bidiagonal model has exactly the law of the dense one at quadratic cost.

    References
    ----------
    Dumitriu and Edelman (2002), arXiv:math-ph/0206043, section III.
    """
    long, short = max(rows, columns), min(rows, columns)
    diagonal = np.sqrt(generator.chisquare(np.arange(long, long - short, -1)))
    lower = np.sqrt(generator.chisquare(np.arange(short - 1, 0, -1)))
    main = diagonal**2
    main[1:] += lower**2
    return eigvalsh_tridiagonal(main, diagonal[:-1] * lower) / rows


@lru_cache(maxsize=64)
def gaussian_null(rows: int, columns: int, draws: int, seed: int) -> NullFits:
    """Power-law fits of ``draws`` Gaussian matrices of a shape; the scale drops out of both numbers.

    Examples
    --------
    >>> from analysis.spectra import gaussian_null
    >>> null = gaussian_null(60, 40, draws=5, seed=0)  # what a power-law fit returns on pure noise
    >>> null.alpha.round(1).tolist()
    [2.9, 2.7, 2.1, 3.4, 3.8]
    """
    generator = np.random.default_rng([seed, rows, columns])
    fits = [fit_power_law(simulate_wishart_spectrum(rows, columns, generator)) for _ in range(draws)]
    return NullFits(np.array([f.alpha for f in fits]), np.array([f.distance for f in fits]))


def shuffled_null(weight: Float[np.ndarray, "m n"], draws: int, seed: int) -> NullFits:
    """Power-law fits after the entries of a layer are shuffled.

    Keeps the distribution of the entries and destroys their arrangement: a tail that survives belongs
    to the entries and not to learned structure.
    """
    generator = np.random.default_rng([seed, *weight.shape])
    flat = weight.astype(np.float64).reshape(-1)
    fits = []
    for _ in range(draws):
        matrix = generator.permutation(flat).reshape(weight.shape)
        gram = matrix @ matrix.T if weight.shape[0] < weight.shape[1] else matrix.T @ matrix
        fits.append(fit_power_law(np.linalg.eigvalsh(gram)))
    return NullFits(np.array([f.alpha for f in fits]), np.array([f.distance for f in fits]))


@dataclass(frozen=True)
class TailReport:
    """A power-law fit compared with its null.

    Attributes
    ----------
    fit : PowerLawFit
    hill : float
        Hill exponent over the upper half.
    p_distance, p_alpha : float
        Share of null fits at least as straight (smaller distance), and at least as heavy (smaller
        exponent), ``(1 + #) / (R + 1)``.
    alpha : float or None
        The exponent, or None where the spectrum is not distinguishable from the null.
    statement : str
        The finding in words.
    """

    fit: PowerLawFit
    hill: float
    p_distance: float
    p_alpha: float
    alpha: float | None
    statement: str


def tail_report(eigenvalues: Float[np.ndarray, " n"], null: NullFits, level: float = 0.05) -> TailReport:
    """Fit a tail and withhold its exponent unless both null p-values are at most ``level``.

    Parameters
    ----------
    eigenvalues : ndarray (n,)
    null : NullFits
        From `gaussian_null` for the same shape, or from `shuffled_null`.
    level : float
        Significance level for each of the two p-values.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.spectra import gaussian_null, tail_report
    >>> null = gaussian_null(100, 60, draws=39, seed=0)
    >>> noise = np.random.default_rng(1).standard_normal((100, 60))
    >>> print(tail_report(np.linalg.eigvalsh(noise.T @ noise), null).alpha)  # withheld: noise looks like this too
    None
    >>> round(float(tail_report(1.0 + np.random.default_rng(1).pareto(1.0, 60), null).alpha), 1)
    1.9
    """
    fit = fit_power_law(eigenvalues)
    draws = null.alpha.size
    p_distance = (1 + int(np.sum(null.distance <= fit.distance))) / (draws + 1)
    p_alpha = (1 + int(np.sum(null.alpha <= fit.alpha))) / (draws + 1)
    heavy = p_distance <= level and p_alpha <= level
    p = f"p(distance) = {p_distance:.3f}, p(alpha) = {p_alpha:.3f}, {draws} draws"
    return TailReport(
        fit=fit,
        hill=hill_exponent(eigenvalues),
        p_distance=p_distance,
        p_alpha=p_alpha,
        alpha=fit.alpha if heavy else None,
        statement=f"alpha = {fit.alpha:.2f} ({p})" if heavy else f"not distinguishable from null ({p})",
    )
