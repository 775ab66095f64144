"""Power-law tails of a spectrum, reported only when neither noise nor a simpler law of the same shape explains them.

A power-law fit returns an exponent on every spectrum, also on pure Marchenko-Pastur ones and on a bulk with a few
spikes. So each fit here is compared with the same fit on simulated noise and with other laws of the same tail, and
the exponent is withheld when one of them explains it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float
from scipy.linalg import eigvalsh_tridiagonal

from analysis.spectra.power_law import PowerLawFit, fit_power_law, hill_exponent
from analysis.spectra.tail_rivals import LikelihoodRatio, bulk_and_spikes_ratio, likelihood_ratios
from kernels.arguments import checked_arguments


@dataclass(frozen=True)
class NullFits:
    """Fits of the same kind on noise; both numbers are free of scale.

    Attributes
    ----------
    alpha, distance : ndarray (r,)
        Of each draw.
    ratio : float
        The smaller over the larger side of the weights drawn.
    """

    alpha: Float[np.ndarray, " r"]
    distance: Float[np.ndarray, " r"]
    ratio: float


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
    return _null(fits, (rows, columns))


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
    return _null(fits, weight.shape)


def _null(fits: Sequence[PowerLawFit], shape: tuple[int, ...]) -> NullFits:
    return NullFits(np.array([f.alpha for f in fits]), np.array([f.distance for f in fits]), min(shape) / max(shape))


@dataclass(frozen=True)
class TailReport:
    """A power-law fit compared with its null and with other laws.

    Attributes
    ----------
    fit : PowerLawFit
    hill : float
        Hill exponent over the upper half.
    p_distance, p_alpha : float
        Share of null fits at least as straight (smaller distance), and at least as heavy (smaller
        exponent), ``(1 + #) / (R + 1)``.
    alpha : float or None
        The exponent, or None where the spectrum is not distinguishable from the null or another law fits it better.
    rivals : tuple of LikelihoodRatio
        The laws that it was compared with; empty where noise explains it already.
    statement : str
        The finding in words.
    """

    fit: PowerLawFit
    hill: float
    p_distance: float
    p_alpha: float
    alpha: float | None
    rivals: tuple[LikelihoodRatio, ...]
    statement: str


@checked_arguments
def tail_report(eigenvalues: Float[np.ndarray, " n"], null: NullFits, level: float = 0.05) -> TailReport:
    """Fit a tail and withhold its exponent where noise or another law explains the spectrum.

    It is printed only if both null p-values are at most ``level``, if the power law fits better than a
    Marchenko-Pastur bulk with bounded spikes, and if no exponential, log-normal or truncated power law fits
    significantly better.

    Parameters
    ----------
    eigenvalues : ndarray (n,)
    null : NullFits
        From `gaussian_null` for the same shape, or from `shuffled_null`.
    level : float
        Significance level for each of the p-values.

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
    p = f"p(distance) = {p_distance:.3f}, p(alpha) = {p_alpha:.3f}, {draws} draws"
    rivals: tuple[LikelihoodRatio, ...] = ()
    if max(p_distance, p_alpha) > level:
        statement, alpha = f"not distinguishable from null ({p})", None
    else:
        positive = eigenvalues[eigenvalues > 0]
        rivals = (bulk_and_spikes_ratio(positive, fit, null.ratio), *likelihood_ratios(positive, fit))
        better = [rival for rival in rivals if _fits_better(rival, level)]
        alpha = None if better else fit.alpha
        named = ", ".join(f"{r.alternative} (log ratio {r.log_ratio:.1f}, p = {r.p_value:.2g})" for r in better)
        statement = f"no power law: better fitted by {named}" if better else f"alpha = {fit.alpha:.2f} ({p})"
    return TailReport(fit, hill_exponent(eigenvalues), p_distance, p_alpha, alpha, rivals, statement)


def _fits_better(rival: LikelihoodRatio, level: float) -> bool:
    """Whether a law takes the place of the power law.

    Noise with spikes is what a weight has before any tail, so its better likelihood alone is enough; the others are
    more flexible than the power law and need a significant one.
    """
    return rival.log_ratio < 0 and (rival.alternative == "bulk and spikes" or rival.p_value <= level)
