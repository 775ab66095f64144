"""Tolerances for the robust KS distance, intervals for the level, and p-values.

Constants follow the Dvoretzky-Kiefer-Wolfowitz inequality with Massart's constant; for two samples the
constant 2 is proved for n = m >= 458 (Wei and Dudley, 2012). Below that, `exact_ks_threshold` gives the exact
quantile.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from analysis.trimming.distributions import Real, Reference, Rows, Sample, SortedRuns, as_float_tensor
from analysis.trimming.level import as_reference, check_delta
from analysis.trimming.solver import Tolerance, solve_levels
from kernels.arguments import checked_arguments

PROVED_FROM = 458
"""Smallest n = m for which the two-sample DKW inequality is proved with constant 2."""


def _check(eps: Real, *sizes: Real) -> None:
    if not 0 < eps < 1:
        raise ValueError(f"eps = {eps} is outside (0, 1): it is the false-alarm rate, for example 0.01")
    if min(sizes) < 1:
        raise ValueError(f"sample sizes must be at least 1, got {sizes}")


@checked_arguments
def dkw_threshold(n: Real, m: Real = math.inf, *, eps: Real = 0.01) -> float:
    """Tolerance that two samples of one law exceed with probability at most ``eps`` (about; see the module).

    delta = sqrt((n + m)/(n m) * ln(2/eps)/2), which is sqrt(ln(2/eps)/n) at n = m. Pooled runs that share
    their inputs count once: m is the number of examples, not runs times examples.

    Parameters
    ----------
    n, m : float
        Sample sizes of candidate and reference; m is infinite for a known distribution.
    eps : float
        False-alarm rate in (0, 1).

    Raises
    ------
    ValueError
        If the tolerance reaches 1, with the sample size that is needed.

    Examples
    --------
    >>> from analysis.trimming import dkw_threshold
    >>> round(dkw_threshold(1000, 1000, eps=0.01), 4)
    0.0728
    """
    _check(eps, n, m)
    delta = math.sqrt((1 / n + 1 / m) * math.log(2 / eps) / 2)
    if delta >= 1:
        need = math.floor(math.log(2 / eps)) + 1
        raise ValueError(f"DKW delta = {delta:.3g} >= 1: nothing can be rejected; use at least n = m = {need} examples")
    if delta >= 0.5:
        warnings.warn(f"DKW delta = {delta:.3g}: few candidates can be rejected", UserWarning, stacklevel=2)
    return delta


def examples_for_threshold(delta: Real, *, eps: Real = 0.01) -> int:
    """Examples per sample (n = m) at which the DKW tolerance falls to ``delta``.

    Examples
    --------
    >>> from analysis.trimming import examples_for_threshold
    >>> examples_for_threshold(0.05, eps=0.01)
    2120
    """
    _check(eps, 1)
    check_delta(delta)
    if delta == 0:
        raise ValueError("delta = 0 needs infinitely many examples")
    return math.ceil(math.log(2 / eps) / delta**2)


def ks_tail(distance: Real, n: int, m: int) -> float:
    """Exact probability that two continuous samples of one law are at least ``distance`` apart (KS).

    Counts lattice paths that stay inside |i/n - j/m| < distance (Hodges, 1957), as probabilities, in O(n m).
    """
    _check(0.5, n, m)
    ahead = np.arange(n + 1)
    inside = np.zeros(n + 1)
    inside[0] = 1.0
    # After k steps, inside[i] is the share of paths to (i, k - i) that never left the band.
    for k in range(1, n + m + 1):
        came = np.concatenate([[0.0], inside[:-1]]) * ahead
        inside = (came + inside * (k - ahead)) / k
        behind = k - ahead
        reachable = (behind >= 0) & (behind <= m)
        inside[~reachable | (np.abs(ahead / n - behind / m) >= distance - 1e-12)] = 0.0
    return float(min(1.0, max(0.0, 1 - inside[n])))


def exact_ks_threshold(n: int, m: int, *, eps: Real = 0.01) -> float:
    """Smallest tolerance that two continuous samples of one law exceed with probability at most ``eps``.

    Raises
    ------
    ValueError
        If even disjoint samples are that likely: nothing can be rejected.

    Examples
    --------
    >>> from analysis.trimming import dkw_threshold, exact_ks_threshold
    >>> exact_ks_threshold(40, 40, eps=0.05), round(dkw_threshold(40, 40, eps=0.05), 3)
    (0.3, 0.304)
    """
    _check(eps, n, m)
    steps = math.lcm(n, m)
    low, high = 0, steps  # D takes multiples of 1/lcm; find the smallest k with P(D > k/lcm) <= eps
    if ks_tail(1.0, n, m) > eps:
        raise ValueError(f"n = {n}, m = {m}: nothing can be rejected at eps = {eps}; use more examples")
    while low < high:
        middle = (low + high) // 2
        if ks_tail((middle + 1) / steps, n, m) <= eps:
            high = middle
        else:
            low = middle + 1
    return low / steps


def contamination_tolerance(n: Real, m: Real, *, eps: Real = 0.01) -> Tolerance:
    """Tolerance A + B s that is calibrated at every level, A = sqrt(ln(4/eps)/2m) and B = sqrt(ln(4/eps)/2n)."""
    _check(eps, n, m)
    return Tolerance(math.sqrt(math.log(4 / eps) / (2 * m)), math.sqrt(math.log(4 / eps) / (2 * n)))


@dataclass(frozen=True)
class LevelInterval:
    """Distribution-free interval of each run's population level at a fixed delta, and its contamination bound.

    Attributes
    ----------
    low, level, high : ndarray, shape (m,)
        The estimate and its 1 - eps interval.
    contamination : ndarray, shape (m,)
        1 - eps lower bound of the share of the candidate that does not come from the reference law.
    """

    low: Float[np.ndarray, " m"]
    level: Float[np.ndarray, " m"]
    high: Float[np.ndarray, " m"]
    contamination: Float[np.ndarray, " m"]


def level_interval(gaps: Rows, reference: Sample | Rows | Reference, *, delta: Real, eps: Real = 0.01) -> LevelInterval:
    """Interval that holds the population level with probability 1 - eps, for any pair of laws.

    Since ``|D(s; F, G) - D(s; F', G')| <= ||G - G'|| + s ||F - F'||``, the ends solve D <= delta + A + B s and
    D <= delta - A - B s. The upper end is 1 unless delta > A + B (n = m > 2 ln(4/eps)/delta^2 examples).

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.trimming import level_interval
    >>> rng = np.random.default_rng(0)
    >>> runs = np.where(rng.random((2, 2000)) < [[0.0], [0.4]], 5.0, rng.normal(size=(2, 2000)))
    >>> found = level_interval(runs, rng.normal(size=2000), delta=0.15)
    >>> found.low.round(2), found.level.round(2), found.high.round(2)
    (array([0.  , 0.21]), array([0. , 0.3]), array([0.  , 0.39]))
    >>> found.contamination.round(2)  # at least this share of the second run is foreign
    array([0.  , 0.35])
    """
    check_delta(delta)
    values = as_float_tensor(gaps, "gaps")
    prepared = as_reference(reference, device=values.device)
    slack = contamination_tolerance(values.shape[1], prepared.size, eps=eps)
    wanted = [
        Tolerance(delta + slack.constant, slack.slope),
        Tolerance(delta),
        Tolerance(delta - slack.constant, -slack.slope),
        slack,
    ]
    return LevelInterval(*(result.level for result in solve_levels(SortedRuns.of(values), prepared, wanted)))


def ks_p_values(
    distances: Float[np.ndarray, " m"], n: int, m: int, *, method: Literal["dkw", "exact"] = "dkw"
) -> Float[np.ndarray, " m"]:
    """P-values of the untrimmed distance D(0): min(1, 2 exp(-2 nm/(n + m) D^2)), or exact for small samples.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.trimming import ks_p_values
    >>> ks_p_values(np.array([0.02, 0.08, 0.12]), 300, 200).round(4)
    array([1.    , 0.4305, 0.0631])
    """
    _check(0.5, n, m)
    if method == "exact":
        return np.array([ks_tail(distance, n, m) for distance in distances])
    return np.minimum(1.0, 2 * np.exp(-2 * n * m / (n + m) * distances**2))
