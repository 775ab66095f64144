"""How much trained runs differ, how many of them to train, which one to keep, and what was claimed about it."""

from __future__ import annotations

from analysis.variability.claims import run_part
from analysis.variability.contrasts import contrast, group_interval
from analysis.variability.ensemble_levels import default_sizes, resampled_levels
from analysis.variability.gaps import compared_quantity, fit_temperatures, split_by_class, usable_runs
from analysis.variability.information import CompanionRegression, look_alikes, own_information
from analysis.variability.multiplicity import ambiguity, competitors, discrepancy, multiplicity_of_best
from analysis.variability.seed_count import ensemble_curve, planned_runs, recommend_seed_count
from analysis.variability.seed_ranking import medoid, pairwise_ks, rank_seeds, select_seed
from analysis.variability.selection import accuracy_guard, ensemble_distance, rival_gains, selection_gains

__all__ = [
    "CompanionRegression",
    "accuracy_guard",
    "ambiguity",
    "compared_quantity",
    "competitors",
    "contrast",
    "default_sizes",
    "discrepancy",
    "ensemble_curve",
    "ensemble_distance",
    "fit_temperatures",
    "group_interval",
    "look_alikes",
    "medoid",
    "multiplicity_of_best",
    "own_information",
    "pairwise_ks",
    "planned_runs",
    "rank_seeds",
    "recommend_seed_count",
    "resampled_levels",
    "run_part",
    "select_seed",
    "rival_gains",
    "selection_gains",
    "split_by_class",
    "usable_runs",
]
