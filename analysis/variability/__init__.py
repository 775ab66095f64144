"""How much trained runs differ, how many of them to train, which one to keep, and what was claimed about it."""

from __future__ import annotations

from analysis.variability.contrasts import contrast, group_interval
from analysis.variability.gaps import compared_quantity, fit_temperatures, split_by_class, usable_runs
from analysis.variability.information import look_alikes
from analysis.variability.seed_count import ensemble_curve, planned_runs, recommend_seed_count
from analysis.variability.seed_ranking import medoid, pairwise_ks, rank_seeds, select_seed

__all__ = [
    "compared_quantity",
    "contrast",
    "ensemble_curve",
    "fit_temperatures",
    "group_interval",
    "look_alikes",
    "medoid",
    "pairwise_ks",
    "planned_runs",
    "rank_seeds",
    "recommend_seed_count",
    "select_seed",
    "split_by_class",
    "usable_runs",
]
