"""Rules that decide claims, their adjustment within a study, and the words that a setting allows for them."""

from analysis.verdicts.by_interval import above_by_interval, below_by_interval
from analysis.verdicts.crossed import crossed_above, crossed_below, crossed_mean, crossed_within
from analysis.verdicts.families import adjusted, all_hold, any_holds, holm
from analysis.verdicts.intervals import (
    digits,
    exact_interval,
    format_estimate,
    proportion_interval,
    run_interval_within,
    student_mean_interval,
)
from analysis.verdicts.rules import (
    ALPHA,
    FAILS,
    HOLDS,
    MIN_RUNS,
    OPEN,
    UNDEFINED_SHARE,
    Decided,
    above,
    below,
    equivalent,
    identity,
    share_above,
    share_below,
    within_band,
)
from analysis.verdicts.words import Claim, Setting, Standing, is_of_publication, word

__all__ = [
    "ALPHA",
    "FAILS",
    "HOLDS",
    "MIN_RUNS",
    "OPEN",
    "UNDEFINED_SHARE",
    "Claim",
    "Decided",
    "Setting",
    "Standing",
    "above",
    "above_by_interval",
    "adjusted",
    "all_hold",
    "any_holds",
    "below",
    "below_by_interval",
    "crossed_above",
    "crossed_below",
    "crossed_mean",
    "crossed_within",
    "digits",
    "equivalent",
    "exact_interval",
    "format_estimate",
    "holm",
    "identity",
    "is_of_publication",
    "proportion_interval",
    "run_interval_within",
    "share_above",
    "share_below",
    "student_mean_interval",
    "within_band",
    "word",
]
