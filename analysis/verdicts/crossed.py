"""Decisions about a mean over runs that share their test rows: both the runs and the rows are a sample."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Shaped

from analysis.verdicts.intervals import format_estimate
from analysis.verdicts.rules import ALPHA, FAILS, HOLDS, MIN_RUNS, OPEN, Decided, Outcome


@dataclass(frozen=True)
class CrossedMean:
    """Mean over runs and rows with a standard error that covers both.

    Attributes
    ----------
    mean, error : float
    df : float
        Degrees of freedom by Satterthwaite's approximation.
    runs, rows : int

    Examples
    --------
    >>> from analysis.verdicts.crossed import CrossedMean
    >>> [round(end, 3) for end in CrossedMean(0.5, 0.1, 4.0, runs=5, rows=100).interval()]
    [0.222, 0.778]
    """

    mean: float
    error: float
    df: float
    runs: int
    rows: int

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Give the ends of the two-sided interval."""
        from scipy import special

        half = float(special.stdtrit(self.df, 0.5 + level / 2)) * self.error
        return self.mean - half, self.mean + half

    def tail(self, bound: float) -> float:
        """One-sided p-value of "the mean is at most `bound`"."""
        from scipy import special

        return float(special.stdtr(self.df, (bound - self.mean) / self.error))


def crossed_mean(values: Shaped[np.ndarray, "runs rows"]) -> CrossedMean:
    """Estimate a mean over independent runs that were measured on the same rows.

    The variance is the sum of two parts, s_runs² / runs of the runs' means and s_rows² / rows of the rows' means.
    What run and row do together is counted in both, so the error is never too small on average. It is not below
    1 / rows, the weight of one row of one run's answer, so that rows which all agree by luck prove no identity.

    Parameters
    ----------
    values : ndarray, shape (runs, rows)
        One number for each run and row, such as the difference of two right-or-wrong answers.

    Raises
    ------
    ValueError
        If there are fewer than two runs or rows, or a value is not finite.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.verdicts import crossed_mean
    >>> right = np.random.default_rng(0).random((5, 1000)) < 0.8
    >>> found = crossed_mean(right)
    >>> round(found.mean, 3), round(found.error, 3)
    (0.795, 0.009)
    """
    runs, rows = values.shape
    if runs < 2 or rows < 2:
        raise ValueError(f"a mean over runs and rows needs two of each, got {runs} x {rows}.")
    table = values.astype(np.float64)
    if not np.isfinite(table).all():
        raise ValueError(f"{int((~np.isfinite(table)).sum())} of {table.size} values are not finite.")
    parts = (
        (table.mean(axis=1).var(ddof=1) / runs, runs - 1),
        (table.mean(axis=0).var(ddof=1) / rows, rows - 1),
    )
    variance = max(sum(part for part, _ in parts), rows**-2.0)
    spread = sum(part**2 / freedom for part, freedom in parts)
    df = variance**2 / spread if spread > 0 else float(rows - 1)
    return CrossedMean(float(table.mean()), math.sqrt(variance), max(1.0, df), runs, rows)


def crossed_above(values: Shaped[np.ndarray, "runs rows"], bound: float, *, what: str, margin: float = 0.0) -> Decided:
    """Claim: the mean over runs and test rows is above `bound` by more than `margin`.

    Parameters
    ----------
    values : ndarray, shape (runs, rows)
    bound : float
    what : str
        Name and unit of the number.
    margin : float
        Smallest difference that counts; 0 where the bound itself is one ("at most half a point behind").

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.verdicts import crossed_above
    >>> rng = np.random.default_rng(0)
    >>> better, worse = rng.random((5, 2000)) < 0.9, rng.random((5, 2000)) < 0.8
    >>> crossed_above(1.0 * better - worse, 0.0, margin=0.01, what="lead").outcome
    'holds'
    """
    return _decided(values, bound, math.inf, what, margin, f"claimed above {bound:.4g}")


def crossed_below(values: Shaped[np.ndarray, "runs rows"], bound: float, *, what: str, margin: float = 0.0) -> Decided:
    """Claim: the mean over runs and test rows is below `bound` by more than `margin`; see `crossed_above`.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.verdicts import crossed_below
    >>> crossed_below(np.random.default_rng(0).random((5, 2000)), 0.6, what="share").outcome
    'holds'
    """
    return _decided(values, -math.inf, bound, what, margin, f"claimed below {bound:.4g}")


def crossed_within(values: Shaped[np.ndarray, "runs rows"], low: float, high: float, *, what: str) -> Decided:
    """Claim: the mean over runs and test rows is between `low` and `high`, by two one-sided tests.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.verdicts import crossed_within
    >>> crossed_within(np.random.default_rng(0).standard_normal((5, 4000)), -0.1, 0.1, what="difference").outcome
    'holds'
    """
    return _decided(values, low, high, what, 0.0, f"claimed within [{low:.4g}, {high:.4g}]")


def _decided(values: np.ndarray, low: float, high: float, what: str, margin: float, claimed: str) -> Decided:
    runs, rows = values.shape
    units = f"n = {runs} runs x {rows} test rows"
    if runs < MIN_RUNS:
        return Decided(
            OPEN, f"{what}: {values.mean() if values.size else math.nan:.3g}, {units}; {MIN_RUNS} runs are needed."
        )
    found = crossed_mean(values)
    inside = [found.tail(low + margin)] if math.isfinite(low) else []
    outside = [1.0 - found.tail(low - margin)] if math.isfinite(low) else []
    if math.isfinite(high):
        inside.append(1.0 - found.tail(high - margin))
        outside.append(found.tail(high + margin))
    p, against = max(inside), min(1.0, len(outside) * min(outside))
    # one bound is decided by the two-sided 95 % interval, a band by two one-sided tests at 5 %
    level = ALPHA if len(inside) == 2 else ALPHA / 2
    outcome: Outcome = HOLDS if p <= level else FAILS if against <= level else OPEN
    evidence = (
        f"{what}: {format_estimate(found.mean, *found.interval(), signed=True)}, 95 % interval over {units}, "
        f"both resampled; {claimed}" + (f" by more than {margin:.4g}." if margin else ".")
    )
    return Decided(outcome, evidence, p, against)
