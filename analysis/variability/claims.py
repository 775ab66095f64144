"""Verdicts on the qualitative claims of arXiv 2310.00541 (A1, A2) and 2406.08307 (B1 to B4), from arrays.

A claim is a hypothesis: it ends as reproduced, not reproduced, or undecided at this n (the default), with the effect,
its 95 % interval and the test that decided. Fewer runs than a decision needs leave it undecided.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import stats

from analysis.resampling import (
    Interval,
    bootstrap_interval,
    bootstrap_mean_interval,
    correlation,
    rank_correlation,
)
from analysis.trimming.distributions import Real
from analysis.variability.contrasts import Spread, contrast
from analysis.variability.seed_count import EnsembleCurve, fit_plateau
from analysis.verdicts.superseded import NOT_REPRODUCED, REPRODUCED, UNDECIDED


@dataclass(frozen=True)
class ClaimVerdict:
    """The verdict on a claim, with its evidence.

    Attributes
    ----------
    claim : str
        Identifier, A1 to B4.
    verdict : str
        ``reproduced``, ``not reproduced`` or ``undecided at this n``.
    effect, low, high : float
        Deciding quantity and its interval; NaN where it cannot be computed.
    n : int
        Runs (or groups) behind it.
    test : str
        The test that decided, with the number of runs that it needs.
    details : dict
        Companion numbers.
    """

    claim: str
    verdict: str
    effect: float
    low: float
    high: float
    n: int
    test: str
    details: dict[str, float] = field(default_factory=dict)


def _decide(claim: str, interval: Interval, n: int, need: int, test: str, **details: Real) -> ClaimVerdict:
    """Decide on one interval against 0: above, below, or neither."""
    verdict = UNDECIDED
    if n >= need and interval.low > 0:
        verdict = REPRODUCED
    elif n >= need and interval.high < 0:
        verdict = NOT_REPRODUCED
    rounded = {name: float(value) for name, value in details.items()}
    test = f"{test}; needs {need}"
    return ClaimVerdict(
        claim, verdict, float(interval.estimate), float(interval.low), float(interval.high), n, test, rounded
    )


def typical_accuracy(accuracy: Float[np.ndarray, " m"], examples: int) -> Bool[np.ndarray, " m"]:
    """Mark runs within one binomial standard error of the mean accuracy: the test set cannot tell them apart."""
    mean = float(accuracy.mean())
    return np.abs(accuracy - mean) <= np.sqrt(mean * (1 - mean) / examples)


def run_variance(
    levels: Float[np.ndarray, " m"], draws: Float[np.ndarray, "b m"], rng: np.random.Generator
) -> Interval:
    """Variance of levels between runs beyond what the finite test set explains, with its interval over runs.

    Draws of examples are joint, so that the part of the test-set noise that all runs share is taken out of them
    first; only the rest can look like a difference between runs.
    """
    centered = draws - draws.mean(axis=1, keepdims=True)
    noise = centered.var(axis=0, ddof=1)

    def excess(counts: Int[np.ndarray, " m"]) -> float:
        taken = np.repeat(np.arange(len(levels)), counts)
        return float(levels[taken].var(ddof=1) - noise[taken].mean())

    return bootstrap_interval(excess, len(levels), draws=1000, rng=rng, kind="percentile")


def claim_a1(
    levels: Float[np.ndarray, " m"],
    draws: Float[np.ndarray, "b m"],
    accuracy: Float[np.ndarray, " m"],
    null: Float[np.ndarray, " k"],
    *,
    examples: int,
    rng: np.random.Generator,
    need: int = 50,
) -> ClaimVerdict:
    """A1: runs of equal accuracy compute different functions, and the level tells them apart.

    Parameters
    ----------
    levels : ndarray, shape (m,)
        Levels of the candidates.
    draws : ndarray, shape (b, m)
        Levels under joint bootstrap draws of the examples.
    accuracy : ndarray, shape (m,)
        Test accuracies.
    null : ndarray, shape (k,)
        Levels of samples drawn from the reference (`analysis.trimming.null_levels`).
    examples : int
        Test examples.
    rng : numpy.random.Generator
        Source of the bootstrap over runs.
    need : int
        Candidates that a decision needs.
    """
    kept = typical_accuracy(accuracy, examples)
    count, test = int(kept.sum()), "run part of the variance of levels among runs of equal accuracy exceeds 0"
    if count < 3:
        return ClaimVerdict("A1", UNDECIDED, np.nan, np.nan, np.nan, count, f"{test}; needs {need} candidates")
    part = run_variance(levels[kept], draws[:, kept], rng)
    above = int((levels[kept] > 0).sum())
    share = stats.binomtest(above, count).proportion_ci(0.95, method="wilson")
    null_share = float((null > 0).mean())
    verdict = UNDECIDED
    if len(levels) >= need:
        if part.low > 0 and share.low > null_share:
            verdict = REPRODUCED
        elif part.high <= 0 or share.high < null_share:
            verdict = NOT_REPRODUCED
    return ClaimVerdict(
        "A1",
        verdict,
        float(part.estimate),
        float(part.low),
        float(part.high),
        count,
        f"{test}, and the share of levels above 0 exceeds its null; needs {need} candidates",
        {
            "share_above_zero": above / count,
            "share_low": float(share.low),
            "share_high": float(share.high),
            "null_share": null_share,
            "level_sd": float(levels[kept].std(ddof=1)),
            "accuracy_se": float(np.sqrt(accuracy.mean() * (1 - accuracy.mean()) / examples)),
        },
    )


def claim_a2(
    levels: Mapping[str, Float[np.ndarray, " m"]], *, rng: np.random.Generator, need: int = 50, tolerance: Real = 1e-9
) -> ClaimVerdict:
    """A2: the method works for other outputs.

    Decided on the identities (probability as gap, loss as signed gap) and on the rank correlation between levels
    of the gap and of the loss, which label signing makes a different quantity.

    Parameters
    ----------
    levels : mapping of str to ndarray, shape (m,)
        Levels of the same runs by quantity: gap, prob, signed_gap, loss.
    """
    missing = {"gap", "prob", "signed_gap", "loss"} - set(levels)
    if missing:
        raise ValueError(f"A2 compares gap, prob, signed_gap and loss; missing: {sorted(missing)}")
    gap_error = float(np.abs(levels["gap"] - levels["prob"]).max())
    loss_error = float(np.abs(levels["signed_gap"] - levels["loss"]).max())
    count = len(levels["gap"])
    details = {"gap_minus_prob": gap_error, "signed_gap_minus_loss": loss_error}
    test = "identities hold and the rank correlation of gap and loss levels exceeds 0"
    if count < 3:
        return ClaimVerdict("A2", UNDECIDED, np.nan, np.nan, np.nan, count, f"{test}; needs {need} runs", details)
    agreement = rank_correlation(levels["gap"], levels["loss"], rng=rng)
    found = _decide("A2", agreement, count, need, test, **details)
    if max(gap_error, loss_error) <= tolerance:
        return found
    broken = f"an identity fails by {max(gap_error, loss_error):.2g}"
    return ClaimVerdict("A2", NOT_REPRODUCED, found.effect, found.low, found.high, count, broken, details)


def claim_b1(
    curve: EnsembleCurve, *, rng: np.random.Generator, reference_runs: int, need: int = 100, subsets: int = 20
) -> ClaimVerdict:
    """B1: the ensemble's distribution approaches the expected one, and the curve names the number of runs.

    Reproduced where the level at the largest M stays below 0.05 (upper end over subsets) and the KS distance falls
    with M; not reproduced where the lower end of the fitted plateau exceeds delta.
    """
    runs = int(min(curve.sizes.max(), reference_runs))
    largest = bootstrap_mean_interval(curve.level[-1], rng=rng, kind="percentile")
    details = {"ks_smallest_m": float(curve.ks[0].mean()), "ks_largest_m": float(curve.ks[-1].mean())}
    test = "level at the largest M below 0.05 and falling distance, or a plateau above delta"
    verdict = UNDECIDED
    if len(curve.sizes) >= 4:
        plateau = bootstrap_interval(
            lambda counts: fit_plateau(curve.sizes, curve.ks @ counts / counts.sum())[0],
            curve.ks.shape[1],
            draws=200,
            rng=rng,
            kind="percentile",
        )
        _, c, p = fit_plateau(curve.sizes, curve.ks.mean(axis=1))
        trend = correlation(np.repeat(curve.sizes, curve.ks.shape[1]).astype(np.float64), curve.ks.ravel())
        near = np.flatnonzero(np.quantile(curve.level, 0.975, axis=1) < 0.05)
        details |= {
            "plateau": float(plateau.estimate),
            "plateau_low": float(plateau.low),
            "plateau_high": float(plateau.high),
            "c": c,
            "p": p,
            "trend": trend,
            "named_m": float(curve.sizes[near[0]]) if len(near) else np.nan,
        }
        enough = runs >= need and curve.level.shape[1] >= subsets
        if enough and float(largest.high) < 0.05 and trend < 0:
            verdict = REPRODUCED
        elif enough and float(plateau.low) > curve.delta:
            verdict = NOT_REPRODUCED
    return ClaimVerdict(
        "B1",
        verdict,
        float(largest.estimate),
        float(largest.low),
        float(largest.high),
        runs,
        f"{test}; needs {need} + {need} runs and {subsets} subsets of each size",
        details,
    )


def claim_b3(
    gains: Mapping[str, Float[np.ndarray, " g"]],
    accuracy_gain: Float[np.ndarray, " g"],
    *,
    rng: np.random.Generator,
    need: int = 20,
) -> ClaimVerdict:
    """B3: the level helps to choose a seed.

    Parameters
    ----------
    gains : mapping of str to ndarray, shape (g,)
        For each test metric, its gain (positive is better) of the run with the lowest validation level over the
        mean of its group (a random choice), one value per group of runs. Bonferroni over metrics.
    accuracy_gain : ndarray, shape (g,)
        Test-accuracy gain of the same choices; its interval must not be entirely below 0.
    need : int
        Groups that a decision needs.
    """
    groups = len(accuracy_gain)
    test = f"paired gain of the lowest-level run over a random one ({', '.join(gains)}), no loss of accuracy"
    if groups < 3:
        return ClaimVerdict("B3", UNDECIDED, np.nan, np.nan, np.nan, groups, f"{test}; needs {need} groups")
    level = 1 - 0.05 / len(gains)
    intervals = {name: bootstrap_mean_interval(values, rng=rng, level=level) for name, values in gains.items()}
    guard = bootstrap_mean_interval(accuracy_gain, rng=rng)
    best = max(intervals, key=lambda name: float(intervals[name].low) / (float(gains[name].std()) + 1e-300))
    verdict = UNDECIDED
    if groups >= need:
        if any(one.low > 0 for one in intervals.values()) and not guard.high < 0:
            verdict = REPRODUCED
        elif guard.high < 0 or all(one.high < 0 for one in intervals.values()):
            verdict = NOT_REPRODUCED
    details = {f"{name}_gain": float(one.estimate) for name, one in intervals.items()}
    details |= {"accuracy_gain": float(guard.estimate), "accuracy_gain_high": float(guard.high)}
    chosen = intervals[best]
    return ClaimVerdict(
        "B3",
        verdict,
        float(chosen.estimate),
        float(chosen.low),
        float(chosen.high),
        groups,
        f"{test}; shown: {best}; needs {need} groups",
        details,
    )


def claim_b4(
    scratch: Spread,
    tuned: Spread,
    *,
    rng: np.random.Generator,
    stand_in: bool,
    need: int = 50,
) -> ClaimVerdict:
    """B4: fine-tuned runs vary less than runs trained from scratch.

    Parameters
    ----------
    scratch, tuned : mapping of str to ndarray
        ``level``, shape (m,), each arm against its own leave-one-out reference, same examples and delta; ``churn``,
        shape (m, m), of every pair of runs; further measures are reported with their intervals.
    stand_in : bool
        The runs are not of the published kind of network (ViT): the claim then stays undecided.
    need : int
        Runs per arm that a decision needs.
    """
    runs = min(len(scratch["level"]), len(tuned["level"]))
    test = "scratch minus fine-tuned: mean level and mean churn both above 0"
    if runs < 3:
        return ClaimVerdict("B4", UNDECIDED, np.nan, np.nan, np.nan, runs, f"{test}; needs {need} runs per arm")
    differences = contrast(scratch, tuned, rng=rng)
    level, churn = differences["level"], differences["churn"]
    verdict = UNDECIDED
    if runs >= need:
        if level.low > 0 and churn.low > 0:
            verdict = REPRODUCED
        elif level.high < 0 or churn.high < 0:
            verdict = NOT_REPRODUCED
    details = {
        f"{name}_{part}": float(getattr(interval, end))
        for name, interval in differences.items()
        if name != "level"
        for part, end in (("difference", "estimate"), ("low", "low"), ("high", "high"))
    }
    details |= {
        "level_scratch": float(scratch["level"].mean()),
        "level_tuned": float(tuned["level"].mean()),
    }
    test = f"{test}; needs {need} runs per arm"
    if stand_in:
        test, verdict = f"{test}; the stand-in by itself: {verdict}", UNDECIDED
    return ClaimVerdict("B4", verdict, float(level.estimate), float(level.low), float(level.high), runs, test, details)
