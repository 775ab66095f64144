"""Trimming levels of runs against each other, and how many runs a consensus of them needs."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from analysis.comparison.measures import NO, Row, alone, row, spanning
from analysis.comparison.outputs import RunOutputs
from analysis.trimming.references import REFERENCES, consensus_levels, left_out_levels
from analysis.trimming.thresholds import dkw_threshold
from analysis.variability.gaps import Quantity, compared_quantity
from analysis.variability.seed_count import distribution_spread, planned_runs, recommend_seed_count
from analysis.verdicts.intervals import jackknife_share_interval

FIRST_RUNG = 10
"""Runs from which the stopping rule can be applied; fewer are a pilot."""
WIDE = 0.2
"""Tolerance from which on only gross differences show."""


@dataclass(frozen=True)
class Levels:
    """Trimming levels of m runs, each against all others.

    Attributes
    ----------
    rows : tuple of Row
        Mean level by reference.
    levels : dict of str to ndarray, shape (m,)
        Level of each run by reference.
    delta : float
        Tolerance; NaN where there are too few examples for any.
    notes : tuple of str
        What was compared.
    """

    rows: tuple[Row, ...]
    levels: dict[str, Float[np.ndarray, " m"]]
    delta: float
    notes: tuple[str, ...]


def gaps_of(given: RunOutputs, quantity: Quantity | None) -> tuple[Float[np.ndarray, "m n"], Quantity]:
    """Give the number per example that is compared, and its name: the gap of two classes, the margin of more."""
    chosen: Quantity = quantity or ("gap" if given.logits.shape[2] == 2 else "margin")
    return compared_quantity(given.logits, given.labels, quantity=chosen), chosen


def compare_levels(gaps: Float[np.ndarray, "m n"], quantity: str, delta: float | None) -> Levels:
    """Measure the levels of every run against the others by the three references.

    Parameters
    ----------
    gaps : ndarray, shape (m, n)
        Compared quantity.
    quantity : str
        Its name, for the note.
    delta : float or None
        Tolerance; None takes the DKW one at 1 %.
    """
    runs, examples = gaps.shape
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of wide tolerances and equal runs, which are said otherwise
        try:
            used = dkw_threshold(examples, examples) if delta is None else delta
        except ValueError:
            note = f"No trimming level: {examples} examples allow no tolerance; 6 are the least, and 1,000 are useful."
            rows = tuple(alone("level", kind, NO, runs, "too few examples") for kind in REFERENCES)
            return Levels(rows, {kind: np.full(runs, NO) for kind in REFERENCES}, NO, (note,))
        found = consensus_levels(gaps, deltas=[used])
        levels = {kind: found.level(kind, used) for kind in REFERENCES}
        lost = {kind: int((~found.results[kind, used].attainable).sum()) for kind in REFERENCES}
        rest = left_out_levels(gaps, deltas=[used]) if runs > 2 else []
        rows = tuple(
            _row(kind, level, [float(one.level(kind, used).mean()) for one in rest], lost[kind])
            for kind, level in levels.items()
        )
    said = f"Trimming levels compare the {quantity.replace('_', ' ')} at tolerance {used:.4f}."
    wide = f" With {examples} examples only gross differences exceed it." if used >= WIDE else ""
    return Levels(rows, levels, used, (said + wide,))


def _row(kind: str, level: np.ndarray, left_out: list[float], lost: int) -> Row:
    runs = len(level)
    low, high = jackknife_share_interval(level.tolist(), left_out)
    note = f"no trimming suffices for {lost} runs" if lost else ""
    if not level.any():
        note = "0 in all runs, the end bounds the share above 0"
    return spanning("level", kind, float(level.mean()), low, high, float(level.std(ddof=1)), runs, note)


def runs_needed(
    gaps: Float[np.ndarray, "m n"],
    delta: float,
    accuracy: Float[np.ndarray, " m"],
    precision: float,
    rng: np.random.Generator,
) -> list[Row]:
    """Count the runs that mean accuracy, and the consensus of levels, ask for.

    Both are proportional to a variance over runs; their ends are those of the variance of normal runs (chi-squared).

    Parameters
    ----------
    gaps : ndarray, shape (m, n)
        Compared quantity.
    delta : float
        Tolerance of levels.
    accuracy : ndarray, shape (m,)
        Of the runs.
    precision : float
        Half-width of the interval of mean accuracy that is wanted.
    rng : numpy.random.Generator
        Source of the splits of the stopping rule.
    """
    from scipy import stats

    runs = len(accuracy)
    # of two runs a variance is known up to a factor of a thousand: not at all
    factors = (runs - 1) / stats.chi2.ppf([0.975, 0.025], runs - 1) if runs > 2 else np.full(2, NO)
    variance = float(accuracy.var(ddof=1))
    ends = [_runs_for(variance * factor, precision) for factor in factors]
    value = _runs_for(variance, precision)
    of = f"mean accuracy within {precision:g}"
    rows = [row("runs_needed", of, value, ends[0], ends[1], NO, runs, "")]
    if not variance > 1e-24:
        rows = [alone("runs_needed", of, NO, runs, "undefined: the accuracies do not differ")]
    if not delta > 0:
        return rows
    spread = distribution_spread(gaps)
    if not spread > 0:
        return [*rows, alone("runs_needed", "consensus of levels", NO, runs, "undefined: the runs do not differ")]
    ends = [NO if math.isnan(factor) else float(planned_runs(spread * factor**0.5, delta=delta)) for factor in factors]
    if runs >= FIRST_RUNG:
        said = recommend_seed_count(gaps, delta=delta, rng=rng).describe()
    else:
        said = f"planned from {runs} runs; from {FIRST_RUNG} on the stopping rule is applied"
    planned = float(planned_runs(spread, delta=delta))
    rows.append(row("runs_needed", "consensus of levels", planned, ends[0], ends[1], NO, runs, said))
    return rows


def _runs_for(variance: float, precision: float) -> float:
    """Smallest n with t(n - 1) sqrt(variance/n) <= precision."""
    from scipy import stats

    if math.isnan(variance):
        return NO
    n = np.unique(np.round(np.geomspace(2, 1e7, 4000)))  # exact up to some hundred, to 0.4 % above
    enough = stats.t.ppf(0.975, n - 1) ** 2 * variance <= n * precision**2
    return float(n[enough.argmax()]) if enough.any() else math.inf
