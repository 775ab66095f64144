"""What runs say about the qualitative claims A1 and A2 of arXiv 2310.00541 and B4 of 2406.08307, from arrays.

B1, B2 and B3 are in `ensemble_levels`, `information` and `selection`. A claim is a hypothesis: it holds, it fails, or
it is open (the default); `analysis.verdicts` decides, and the report finds the word that the setting allows.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float

from analysis.resampling import Interval, rank_correlation
from analysis.trimming.distributions import Real
from analysis.variability.contrasts import Spread, contrast
from analysis.verdicts import (
    FAILS,
    HOLDS,
    OPEN,
    Decided,
    above,
    above_by_interval,
    all_hold,
    exact_interval,
    identity,
    share_above,
    student_mean_interval,
)

NEED = 50
"""Candidates (A1, A2) or runs per arm (B4) that the published claims ask for."""
RUN_PART, RUN_PART_MARGIN = 0.02**2, 0.01**2
"""Smallest variance of levels between runs that is of interest (a standard deviation of 0.02), and its margin."""
AGREEMENT_MARGIN = 0.1
"""Rank correlation between levels of two outputs that counts as none."""
ARM_MARGINS = {"level": 0.02, "churn": 0.01}
"""Differences between arms that count as none: mean trimming level and pairwise churn."""


@dataclass(frozen=True)
class ClaimFinding:
    """What the runs say about one claim.

    Attributes
    ----------
    claim : str
        Identifier, A1 to B4.
    decided : Decided
        Outcome and evidence.
    details : dict of str to float
        Companion numbers; NaN where one is undefined.
    """

    claim: str
    decided: Decided
    details: dict[str, float] = field(default_factory=dict)


def typical_accuracy(accuracy: Float[np.ndarray, " m"], examples: int) -> Bool[np.ndarray, " m"]:
    """Mark runs within one binomial standard error of the mean accuracy: the test set cannot tell them apart."""
    mean = float(accuracy.mean())
    return np.abs(accuracy - mean) <= np.sqrt(mean * (1 - mean) / examples)


def run_part(levels: Float[np.ndarray, " m"], draws: Float[np.ndarray, "b m"]) -> Float[np.ndarray, " m"]:
    """Split the variance of levels by run: their mean is the part that the finite test set does not explain.

    Draws of examples are joint, so that the part of the test-set noise that all runs share is taken out of them
    first; only the rest can look like a difference between runs.

    Parameters
    ----------
    levels : ndarray, shape (m,)
        Levels of the runs, m at least 2.
    draws : ndarray, shape (b, m)
        Their levels under joint bootstrap draws of the examples.

    Returns
    -------
    ndarray, shape (m,)
        Squared deviation of each run from the mean level minus the variance of its noise, both unbiased.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.variability import run_part
    >>> rng = np.random.default_rng(0)
    >>> levels = rng.normal(0.3, 0.1, size=200)  # a standard deviation of 0.1 between runs
    >>> draws = levels + 0.05 * rng.normal(size=(100, 200)) + 0.2 * rng.normal(size=(100, 1))
    >>> noisy = levels + 0.05 * rng.normal(size=200)
    >>> round(float(run_part(noisy, draws).mean()) ** 0.5, 2)
    0.1
    """
    noise = (draws - draws.mean(axis=1, keepdims=True)).var(axis=0, ddof=1)
    count = len(levels)
    return count / (count - 1) * ((levels - levels.mean()) ** 2 - noise)


def claim_a1(
    levels: Float[np.ndarray, " m"],
    draws: Float[np.ndarray, "b m"],
    accuracy: Float[np.ndarray, " m"],
    null: Float[np.ndarray, " k"],
    *,
    examples: int,
    need: int = NEED,
) -> ClaimFinding:
    """A1: runs of equal accuracy compute different functions, and the level tells them apart.

    It holds where, among runs of equal accuracy, the run part of the variance of levels is above its smallest value
    of interest and the share of levels above 0 exceeds that of samples drawn from the reference. It fails only where
    levels are seen but do not differ. Levels of 0 are absence of evidence at this tolerance, so they leave it open.

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
    need : int
        Candidates that a decision needs.
    """
    kept = typical_accuracy(accuracy, examples)
    count, candidates, unit = int(kept.sum()), len(levels), "runs of equal accuracy"
    if candidates < need or count < 2:
        evidence = f"n = {candidates} candidates, {count} of equal accuracy; {need} candidates are needed."
        return ClaimFinding("A1", Decided(OPEN, evidence))
    parts = run_part(levels[kept], draws[:, kept])
    run = above(parts.tolist(), RUN_PART, margin=RUN_PART_MARGIN, what="run part of the variance of levels", unit=unit)
    seen = levels[kept] > 0
    bound = exact_interval(int((null > 0).sum()), len(null))[1]
    share = (
        share_above(seen.tolist(), bound, what="levels above 0 (bound: as often as without a difference)", unit=unit)
        if bound < 1
        else Decided(OPEN, f"levels above 0: in {seen.sum()} of {count} {unit}, as in all samples of the reference.")
    )
    decided = all_hold({"run part": run, "share above 0": share}, "parts")
    if decided.outcome == FAILS:
        if share.outcome != HOLDS:
            reason = "Hardly a level is above 0 here, so that nothing could be told apart."
        elif student_mean_interval(parts.tolist())[3] <= 0:
            reason = "The noise of the test set is overestimated here."
        else:
            reason = ""
        if reason:
            decided = dataclasses.replace(decided, outcome=OPEN, evidence=f"{decided.evidence} {reason}")
    details = {
        "run_part": float(parts.mean()),
        "share_above_zero": float(seen.mean()),
        "null_share": float((null > 0).mean()),
        "level_sd": float(levels[kept].std(ddof=1)),
        "accuracy_se": float(np.sqrt(accuracy.mean() * (1 - accuracy.mean()) / examples)),
        "runs": float(count),
    }
    return ClaimFinding("A1", decided, details)


def claim_a2(
    levels: Mapping[str, Float[np.ndarray, " m"]],
    *,
    need: int = NEED,
    tolerance: Real = 1e-9,
) -> ClaimFinding:
    """A2: the method works for other outputs.

    Decided on the identities (probability as gap, loss as signed gap) and on the rank correlation between levels
    of the gap and of the loss, which label signing makes a different quantity.

    Parameters
    ----------
    levels : mapping of str to ndarray, shape (m,)
        Levels of the same runs by quantity: gap, prob, signed_gap, loss.
    need : int
        Runs that a decision needs.
    tolerance : float
        Difference of two identical levels that is rounding.

    Raises
    ------
    ValueError
        If a quantity is missing.
    """
    missing = {"gap", "prob", "signed_gap", "loss"} - set(levels)
    if missing:
        raise ValueError(f"A2 compares gap, prob, signed_gap and loss; missing: {sorted(missing)}")
    count = len(levels["gap"])
    apart = {
        "gap and probability": levels["gap"] - levels["prob"],
        "signed gap and loss": levels["signed_gap"] - levels["loss"],
    }
    members = {
        name: identity(values.tolist(), float(tolerance), what=f"levels of {name}", unit="runs")
        for name, values in apart.items()
    }
    details = {f"{name.replace(' ', '_')}_differ": float(np.abs(values).max()) for name, values in apart.items()}
    if count >= 3:
        found = rank_correlation(levels["gap"], levels["loss"])
        details["r_gap_loss"] = float(found.estimate)
        members["gap and loss"] = above_by_interval(
            _ends(found),
            0.0,
            margin=AGREEMENT_MARGIN,
            n=count,
            what="rank correlation of gap and loss levels",
            unit="runs",
            needed=need,
        )
    decided = all_hold(members, "comparisons of outputs")
    if count < need and decided.outcome != FAILS:
        decided = Decided(OPEN, f"n = {count} runs; {need} are needed.")
    return ClaimFinding("A2", decided, details)


def _ends(interval: Interval) -> tuple[float, float, float]:
    return float(interval.estimate), float(interval.low), float(interval.high)


def claim_b4(scratch: Spread, tuned: Spread, *, need: int = NEED) -> ClaimFinding:
    """B4: fine-tuned runs vary less than runs trained from scratch.

    Parameters
    ----------
    scratch, tuned : mapping of str to ndarray
        ``level``, shape (m,), each arm against its own leave-one-out reference, same examples and delta; ``churn``,
        shape (m, m), of every pair of runs; further measures are reported with their intervals.
    need : int
        Runs per arm that a decision needs.
    """
    runs = min(len(scratch["level"]), len(tuned["level"]))
    if runs < 3:
        return ClaimFinding("B4", Decided(OPEN, f"n = {runs} runs per arm; {need} are needed."))
    differences = contrast(scratch, tuned)
    members = {
        name: above_by_interval(
            _ends(differences[name]),
            0.0,
            margin=margin,
            n=runs,
            what=f"{name}, from scratch minus fine-tuned",
            unit="runs of either arm (the test examples are fixed)",
            needed=need,
        )
        for name, margin in ARM_MARGINS.items()
    }
    details = {
        f"{name}_{part}": value
        for name, interval in differences.items()
        for part, value in zip(("difference", "low", "high"), _ends(interval), strict=True)
    }
    details |= {"level_scratch": float(scratch["level"].mean()), "level_tuned": float(tuned["level"].mean())}
    return ClaimFinding("B4", all_hold(members, "measures"), details)
