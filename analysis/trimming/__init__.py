"""How much of a run's output distribution must be trimmed to match other runs: levels, tolerances, intervals."""

from __future__ import annotations

from analysis.trimming.bootstrap import bootstrap_levels, null_levels, reference_run_levels
from analysis.trimming.level import (
    optimal_trimming,
    robust_ks_curves,
    robust_ks_distance,
    trimming_level,
    trimming_levels,
)
from analysis.trimming.references import consensus_levels, pairwise_levels
from analysis.trimming.thresholds import (
    dkw_threshold,
    exact_ks_threshold,
    examples_for_threshold,
    ks_p_values,
    level_interval,
)

__all__ = [
    "bootstrap_levels",
    "consensus_levels",
    "dkw_threshold",
    "exact_ks_threshold",
    "examples_for_threshold",
    "ks_p_values",
    "level_interval",
    "null_levels",
    "optimal_trimming",
    "pairwise_levels",
    "reference_run_levels",
    "robust_ks_curves",
    "robust_ks_distance",
    "trimming_level",
    "trimming_levels",
]
