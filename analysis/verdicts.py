"""Decide a claim about a number from its values over independent runs: reproduced, not reproduced, or undecided."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

REPRODUCED, NOT_REPRODUCED, UNDECIDED = "reproduced", "not reproduced", "undecided at this n"


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
    from scipy import stats

    array = np.asarray(values, dtype=np.float64)
    mean = float(array.mean()) if array.size else float("nan")
    if array.size < 2:
        return mean, float("nan"), float("nan"), float("nan")
    sd = float(array.std(ddof=1))
    half = float(stats.t.ppf(0.5 + level / 2, array.size - 1)) * sd / array.size**0.5
    return mean, sd, mean - half, mean + half


MIN_RUNS = 5
"""Seeds below which no published number is called reproduced."""


@dataclass(frozen=True)
class Decided:
    """A verdict with the evidence that gave it."""

    verdict: str
    evidence: str


def at_least(values: Sequence[float], bound: float, what: str, *, level: float = 0.95) -> Decided:
    """Claim: the mean over runs is at least `bound`. Decided where its Student-t interval is entirely on one side.

    Parameters
    ----------
    values : sequence of float
        One per run; NaN where a run could not measure it.
    bound : float
    what : str
        Name and unit of the number.
    level : float
        Of the interval.

    Examples
    --------
    >>> from analysis.verdicts import at_least
    >>> at_least([0.91, 0.93, 0.92, 0.94, 0.92], 0.9, "accuracy")
    Decided(verdict='reproduced', evidence='accuracy: 0.924, 95 % interval [0.9098, 0.9382], n = 5; bound 0.9.')
    """
    finite = [value for value in values if math.isfinite(value)]
    mean, _, low, high = student_mean_interval(finite, level)
    if len(finite) < 2 or len(finite) < len(values):
        shown = f"{mean:.4g}" if finite else "not measured"
        return Decided(UNDECIDED, f"{what}: {shown}, n = {len(finite)} of {len(values)} runs; no interval.")
    verdict = REPRODUCED if low >= bound else NOT_REPRODUCED if high < bound else UNDECIDED
    evidence = (
        f"{what}: {mean:.4g}, {100 * level:g} % interval [{low:.4g}, {high:.4g}], n = {len(finite)}; bound {bound:g}."
    )
    return Decided(verdict, evidence)


def at_most(values: Sequence[float], bound: float, what: str, *, level: float = 0.95) -> Decided:
    """Claim: the mean over runs is at most `bound`."""
    finite = [value for value in values if math.isfinite(value)]
    mean, _, low, high = student_mean_interval(finite, level)
    if len(finite) < 2 or len(finite) < len(values):
        return at_least(values, bound, what, level=level)
    verdict = REPRODUCED if high <= bound else NOT_REPRODUCED if low > bound else UNDECIDED
    evidence = (
        f"{what}: {mean:.4g}, {100 * level:g} % interval [{low:.4g}, {high:.4g}], n = {len(finite)}; bound {bound:g}."
    )
    return Decided(verdict, evidence)


def share_of_runs(holds: Sequence[bool], *, level: float = 0.95) -> Decided:
    """Claim: it holds in most runs. Decided where the exact binomial interval of the share excludes one half."""
    from scipy import stats

    n, hits = len(holds), sum(holds)
    if n == 0:
        return Decided(UNDECIDED, "no run.")
    interval = stats.binomtest(hits, n).proportion_ci(level)
    verdict = REPRODUCED if interval.low > 0.5 else NOT_REPRODUCED if interval.high < 0.5 else UNDECIDED
    return Decided(
        verdict,
        f"holds in {hits} of {n} runs, exact {100 * level:g} % interval [{interval.low:.2f}, {interval.high:.2f}].",
    )
