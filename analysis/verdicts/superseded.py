"""The rules before margins and settings; claims move from here to `analysis.verdicts.rules` one by one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from analysis.verdicts.intervals import student_mean_interval

REPRODUCED, NOT_REPRODUCED, UNDECIDED = "reproduced", "not reproduced", "undecided at this n"


@dataclass(frozen=True)
class OldDecided:
    """A verdict with the evidence that gave it."""

    verdict: str
    evidence: str


def at_least(values: Sequence[float], bound: float, what: str, *, level: float = 0.95) -> OldDecided:
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
    >>> from analysis.verdicts.superseded import at_least
    >>> at_least([0.91, 0.93, 0.92, 0.94, 0.92], 0.9, "accuracy")
    OldDecided(verdict='reproduced', evidence='accuracy: 0.924, 95 % interval [0.9098, 0.9382], n = 5; bound 0.9.')
    """
    finite = [value for value in values if math.isfinite(value)]
    mean, _, low, high = student_mean_interval(finite, level)
    if len(finite) < 2 or len(finite) < len(values):
        shown = f"{mean:.4g}" if finite else "not measured"
        return OldDecided(UNDECIDED, f"{what}: {shown}, n = {len(finite)} of {len(values)} runs; no interval.")
    verdict = REPRODUCED if low >= bound else NOT_REPRODUCED if high < bound else UNDECIDED
    evidence = (
        f"{what}: {mean:.4g}, {100 * level:g} % interval [{low:.4g}, {high:.4g}], n = {len(finite)}; bound {bound:g}."
    )
    return OldDecided(verdict, evidence)


def at_most(values: Sequence[float], bound: float, what: str, *, level: float = 0.95) -> OldDecided:
    """Claim: the mean over runs is at most `bound`."""
    finite = [value for value in values if math.isfinite(value)]
    mean, _, low, high = student_mean_interval(finite, level)
    if len(finite) < 2 or len(finite) < len(values):
        return at_least(values, bound, what, level=level)
    verdict = REPRODUCED if high <= bound else NOT_REPRODUCED if low > bound else UNDECIDED
    evidence = (
        f"{what}: {mean:.4g}, {100 * level:g} % interval [{low:.4g}, {high:.4g}], n = {len(finite)}; bound {bound:g}."
    )
    return OldDecided(verdict, evidence)


def share_of_runs(holds: Sequence[bool], *, level: float = 0.95) -> OldDecided:
    """Claim: it holds in most runs. Decided where the exact binomial interval of the share excludes one half."""
    from scipy import stats

    n, hits = len(holds), sum(holds)
    if n == 0:
        return OldDecided(UNDECIDED, "no run.")
    interval = stats.binomtest(hits, n).proportion_ci(level)
    verdict = REPRODUCED if interval.low > 0.5 else NOT_REPRODUCED if interval.high < 0.5 else UNDECIDED
    return OldDecided(
        verdict,
        f"holds in {hits} of {n} runs, exact {100 * level:g} % interval [{interval.low:.2f}, {interval.high:.2f}].",
    )
