"""Claims decided by an interval that was found elsewhere, such as a bootstrap over both sides of a comparison."""

from __future__ import annotations

import math

from analysis.verdicts.intervals import format_estimate
from analysis.verdicts.rules import FAILS, HOLDS, MIN_RUNS, OPEN, Decided, check_margin


def above_by_interval(
    interval: tuple[float, float, float],
    bound: float,
    *,
    margin: float,
    n: int,
    what: str,
    unit: str,
    p: float | None = None,
    p_against: float | None = None,
    needed: int = MIN_RUNS,
) -> Decided:
    """Claim: a number is above `bound` by more than `margin`, decided by an interval that was found elsewhere.

    Parameters
    ----------
    interval : tuple of three float
        Estimate, lower and upper end at 95 %, such as of a bootstrap over both sides.
    n : int
        Independent units that were resampled.
    unit : str
        What they are, and what was held fixed.
    p, p_against : float or None
        One-sided p-values where the method has its own; else the normal approximation that fits the interval.
    needed : int
        Units that a decision needs, at least `MIN_RUNS`.

    Examples
    --------
    >>> from analysis.verdicts import above_by_interval
    >>> above_by_interval((0.3, 0.2, 0.4), 0.0, margin=0.1, n=20, what="gain", unit="groups of runs").outcome
    'holds'
    """
    return _by_interval(interval, bound, margin, n, what, unit, p, p_against, needed, 1)


def below_by_interval(
    interval: tuple[float, float, float],
    bound: float,
    *,
    margin: float,
    n: int,
    what: str,
    unit: str,
    p: float | None = None,
    p_against: float | None = None,
    needed: int = MIN_RUNS,
) -> Decided:
    """Claim: a number is below `bound` by more than `margin`, decided by an interval; see `above_by_interval`.

    Examples
    --------
    >>> from analysis.verdicts import below_by_interval
    >>> below_by_interval((0.3, 0.2, 0.4), 0.6, margin=0.1, n=20, what="loss", unit="groups of runs").outcome
    'holds'
    """
    return _by_interval(interval, bound, margin, n, what, unit, p, p_against, needed, -1)


def _by_interval(
    interval: tuple[float, float, float],
    bound: float,
    margin: float,
    n: int,
    what: str,
    unit: str,
    p: float | None,
    p_against: float | None,
    needed: int,
    sign: int,
) -> Decided:
    from scipy import special

    check_margin(margin)
    estimate, low, high = (float(part) for part in interval)
    needed = max(needed, MIN_RUNS)
    shown = f"{what}: {format_estimate(estimate, low, high)}"
    if n < needed:
        return Decided(OPEN, f"{shown}, n = {n} {unit}; {needed} are needed.")
    if not (math.isfinite(estimate) and math.isfinite(low) and math.isfinite(high)) or not high > low:
        return Decided(OPEN, f"{shown}, n = {n} {unit}; without an interval nothing is decided.")
    near, far = (low, high) if sign > 0 else (high, low)
    outcome = HOLDS if sign * (near - bound) > margin else FAILS if sign * (far - bound) < -margin else OPEN
    error = (high - low) / (2 * special.ndtri(0.975))
    p = float(special.ndtr((margin - sign * (estimate - bound)) / error)) if p is None else p
    if p_against is None:
        p_against = float(special.ndtr((sign * (estimate - bound) + margin) / error))
    evidence = (
        f"{shown}, 95 % interval over n = {n} {unit}; claimed {'above' if sign > 0 else 'below'} {bound:.4g} by more "
        f"than {margin:.4g}."
    )
    return Decided(outcome, evidence, p, p_against)
