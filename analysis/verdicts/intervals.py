"""Intervals over independent runs that stay within the range of what they estimate, and the digits that they allow."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np


def student_mean_interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float, float, float]:
    """Mean, standard deviation and Student-t interval of independent runs.

    Parameters
    ----------
    values : sequence of float
        One value per run.
    level : float
        Confidence level.

    Returns
    -------
    mean, sd, low, high : float
        NaN where fewer than two runs leave a quantity undefined.

    Examples
    --------
    >>> from analysis.verdicts import student_mean_interval
    >>> [round(value, 3) for value in student_mean_interval([0.91, 0.93, 0.92, 0.94])]
    [0.925, 0.013, 0.904, 0.946]
    """
    from scipy import special

    array = np.asarray(values, dtype=np.float64)
    mean = float(array.mean()) if array.size else float("nan")
    if array.size < 2:
        return mean, float("nan"), float("nan"), float("nan")
    sd = float(array.std(ddof=1))
    half = float(special.stdtrit(array.size - 1, 0.5 + level / 2)) * sd / array.size**0.5
    return mean, sd, mean - half, mean + half


def proportion_interval(hits: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's interval of a proportion; it never leaves [0, 1].

    Parameters
    ----------
    hits, n : int
        Successes and independent trials.
    level : float
        Confidence level.

    Raises
    ------
    ValueError
        If there is no trial or more successes than trials.

    Examples
    --------
    >>> from analysis.verdicts import proportion_interval
    >>> [round(end, 3) for end in proportion_interval(10, 10)]
    [0.722, 1.0]
    """
    from scipy import special

    if n < 1 or not 0 <= hits <= n:
        raise ValueError(f"{hits} of {n} is not a proportion: it needs at least one trial and hits between 0 and n.")
    return _wilson(hits / n, float(special.ndtri(0.5 + level / 2)) ** 2 / n)


def exact_interval(hits: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Clopper-Pearson interval of a proportion: its coverage is never below the level.

    Examples
    --------
    >>> from analysis.verdicts import exact_interval
    >>> [round(end, 3) for end in exact_interval(5, 5)]
    [0.478, 1.0]
    """
    from scipy import special

    if n < 1 or not 0 <= hits <= n:
        raise ValueError(f"{hits} of {n} is not a proportion: it needs at least one trial and hits between 0 and n.")
    tail = (1 - level) / 2
    low = 0.0 if hits == 0 else float(special.betaincinv(hits, n - hits + 1, tail))
    high = 1.0 if hits == n else float(special.betaincinv(hits + 1, n - hits, 1 - tail))
    return low, high


def run_interval_within(
    values: Sequence[float], low: float, high: float, level: float = 0.95
) -> tuple[float, float, float, float]:
    """Interval of the mean over runs of a number that cannot leave [low, high], such as an accuracy.

    Wilson's interval for runs in the place of trials: the standard error at a supposed mean p is taken proportional
    to sqrt(p (1 - p)), with the factor that the runs show (their design effect), and Student's t in the place of the
    normal quantile. In the middle of the range it is close to Student's interval; at its ends it bends away from them.

    Parameters
    ----------
    values : sequence of float
        One value per run, within [low, high].
    low, high : float
        Range of the number.
    level : float
        Confidence level.

    Returns
    -------
    mean, sd, interval_low, interval_high : float
        The interval is NaN where runs do not differ or are fewer than two.

    Raises
    ------
    ValueError
        If a value lies outside the range.

    References
    ----------
    E. B. Wilson, Probable inference, the law of succession, and statistical inference, JASA 22 (1927); with the design
    effect of L. Kish, Survey Sampling (1965).

    Examples
    --------
    >>> from analysis.verdicts import run_interval_within, student_mean_interval
    >>> accuracy = [92.0, 99.9, 84.0, 99.7, 100.0]
    >>> [round(value, 1) for value in student_mean_interval(accuracy)]
    [95.1, 7.1, 86.3, 103.9]
    >>> [round(value, 1) for value in run_interval_within(accuracy, 0, 100)]
    [95.1, 7.1, 78.3, 99.1]
    """
    from scipy import special

    array = np.asarray(values, dtype=np.float64)
    rounding = 1e-12 * (high - low)
    array = np.where((array < low) & (array >= low - rounding), low, array)
    array = np.where((array > high) & (array <= high + rounding), high, array)
    outside = array[(array < low) | (array > high)]
    if outside.size:
        raise ValueError(
            f"{outside.size} of {array.size} values lie outside [{low:g}, {high:g}]: first {outside[0]:g}."
        )
    mean, sd, _, _ = student_mean_interval(array.tolist(), level)
    share = (mean - low) / (high - low)
    if not sd > 1e-12 * (high - low):
        return mean, sd, float("nan"), float("nan")
    effective = share * (1 - share) * array.size / (sd / (high - low)) ** 2
    z = float(special.stdtrit(array.size - 1, 0.5 + level / 2)) ** 2 / effective
    ends = _wilson(share, z)
    return mean, sd, low + (high - low) * ends[0], low + (high - low) * ends[1]


def jackknife_share_interval(
    values: Sequence[float], left_out: Sequence[float], *, variance: float = 0.0, level: float = 0.95
) -> tuple[float, float]:
    """Interval of the mean of shares that depend on each other, such as trimming levels of runs against the others.

    Wilson's interval with the standard error that leaving out runs gives, and Student's t: levels are mostly 0 with a
    few far above, where an interval symmetric about the mean held it in 85 % of simulated studies of 10 runs, this one
    in 97 %, and a bootstrap over runs and examples in 75 %. Where all are 0, the mean is at most the share of runs
    above 0, which the exact interval of none of m bounds; likewise where all are 1.

    Parameters
    ----------
    values : sequence of float
        Share of each run, within [0, 1].
    left_out : sequence of float
        Mean of the others' shares without each run, or without each of some groups of runs of equal size.
    variance : float
        Variance of the mean for another reason, such as the choice of the test examples.
    level : float
        Confidence level.

    Returns
    -------
    low, high : float
        NaN of fewer than three runs, and of runs that do not differ.

    Examples
    --------
    >>> from analysis.verdicts.intervals import jackknife_share_interval
    >>> [round(end, 3) for end in jackknife_share_interval([0.0, 0.1, 0.0, 0.3], [0.13, 0.10, 0.14, 0.04])]
    [0.014, 0.457]
    """
    from scipy import special

    shares, rest = np.asarray(values, dtype=np.float64), np.asarray(left_out, dtype=np.float64)
    if len(shares) < 3:
        return math.nan, math.nan
    if not shares.any() or (shares == 1).all():
        return exact_interval(int(shares.sum()), len(shares), level)
    mean, parts = float(shares.mean()), len(rest)
    squared = (parts - 1) / parts * float(((rest - rest.mean()) ** 2).sum()) + variance
    if not squared > 1e-24:
        return math.nan, math.nan
    return _wilson(mean, float(special.stdtrit(parts - 1, 0.5 + level / 2)) ** 2 * squared / (mean * (1 - mean)))


def _wilson(share: float, z: float) -> tuple[float, float]:
    """Give the ends of Wilson's interval; z is the squared quantile over the (effective) number of trials."""
    center = (share + z / 2) / (1 + z)
    half = math.sqrt(z * share * (1 - share) + z * z / 4) / (1 + z)
    return 0.0 if share == 0 else max(0.0, center - half), 1.0 if share == 1 else min(1.0, center + half)


def digits(low: float, high: float) -> int:
    """Decimals that an interval allows: two significant digits of half its width.

    Examples
    --------
    >>> from analysis.verdicts import digits
    >>> digits(0.624, 0.705), digits(84.9, 99.1)
    (3, 1)
    """
    half = (high - low) / 2
    if not (math.isfinite(half) and half > 0):
        return 3
    return max(0, 1 - math.floor(math.log10(half)))


def format_estimate(value: float, low: float, high: float, *, signed: bool = False) -> str:
    """Write an estimate and its interval with the digits that the interval's width allows.

    A bootstrap whose draws all lie on one side of the estimate, such as one over two runs, gives an interval that
    does not hold it; that is no statement about the estimate, and none is written.

    Parameters
    ----------
    value, low, high : float
        Estimate and ends; NaN ends stand for no interval.
    signed : bool
        Always write the sign, for differences.

    Examples
    --------
    >>> from analysis.verdicts import format_estimate
    >>> format_estimate(0.66412, 0.62399, 0.70511)
    '0.664 [0.624, 0.705]'
    >>> format_estimate(0.5, float("nan"), float("nan"))
    '0.5 (no interval)'
    >>> format_estimate(0.51, 0.03, 0.43)
    '0.51 (no interval)'
    """
    sign = "+" if signed else ""
    if not math.isfinite(value):
        return "undefined"
    rounding = 1e-9 * max(abs(value), abs(low), abs(high))
    if not (math.isfinite(low) and math.isfinite(high) and low - rounding <= value <= high + rounding):
        return f"{value:{sign}.3g} (no interval)"
    decimals = digits(low, high)
    largest = max(abs(value), abs(low), abs(high))
    if decimals > 6 or largest >= 1e7:  # 0.0000000123 reads worse than 1.23e-08
        size = max(1, math.floor(math.log10(largest)) - math.floor(math.log10(max((high - low) / 2, 1e-300))) + 1)
        form = f"{sign}.{min(size, 12)}e"
    else:
        form = f"{sign}.{decimals}f"
        value, low, high = (round(part, decimals) + 0.0 for part in (value, low, high))  # no -0.000
    return f"{value:{form}} [{low:{form}}, {high:{form}}]"
