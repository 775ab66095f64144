"""Pictures of seed variability: all groups side by side, and what one group's runs look like."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import numpy as np

from analysis.pages.blocks import Picture
from analysis.trimming.level import TrimmingPlan
from analysis.variability.figures import (
    distance_curves,
    distribution_fan,
    group_levels,
    level_against,
    level_histograms,
    pairwise_heat_map,
    ranking_figure,
)
from analysis.variability.seed_ranking import SeedRanking
from pipeline.stages.statistics.read import ALPHAS, GroupRow, RunRow

LEVELS: dict[str, Literal["level_mixture_dkw", "level_logit_mean_dkw", "level_quantile_mean_dkw"]] = {
    "mixture": "level_mixture_dkw",
    "logit_mean": "level_logit_mean_dkw",
    "quantile_mean": "level_quantile_mean_dkw",
}
"""Column of the level at the DKW tolerance, by reference."""


def group_comparison(runs: list[RunRow], groups: list[str], summary: list[GroupRow]) -> Picture:
    """Draw the levels and the churn of all groups side by side."""
    shown = [group for group in groups if any(row["group"] == group for row in summary)]
    levels = {group: _floats(row["level_mixture_dkw"] for row in runs if row["group"] == group) for group in shown}
    churn = {group: _floats(row["churn_mean"] for row in runs if row["group"] == group) for group in shown}
    return Picture(
        group_levels(levels, churn, delta=summary[0]["delta"]),
        "Trimming level of every run against the others of its group, and its mean churn against them. Bars are means.",
        "Trimming level and churn of every run: "
        + ", ".join(
            f"{group} mean level {levels[group].mean():.3f}, churn {churn[group].mean():.3f}" for group in shown
        ),
    )


def group_pictures(
    index: int, group: str, rows: list[RunRow], delta: float, arrays: dict[str, np.ndarray]
) -> list[Picture]:
    """Draw the distributions, levels, distances and ranking of one group.

    Parameters
    ----------
    index : int
        Place of the group in the experiment.
    group : str
        Its label.
    rows : list of RunRow
        Its runs.
    delta : float
        DKW tolerance.
    arrays : dict of str to ndarray
        Of the figures.
    """
    level = _floats(row["level_mixture_dkw"] for row in rows)
    seeds = [row["seed"] for row in rows]
    reference = {kind: arrays[f"{index}.reference.{kind}"] for kind in LEVELS}
    parts = {
        part: arrays[f"{index}.plan.{part}"]
        for part in ("values", "kept", "trimmed_cdf", "candidate_cdf", "reference_cdf")
    }
    run, distance, alpha, _ = arrays[f"{index}.plan.run"].tolist()
    plan = TrimmingPlan(**parts, distance=distance, alpha=alpha)
    fan = arrays[f"{index}.fan"].astype(np.float64)
    curves = arrays[f"{index}.curves"]
    found = {kind: _floats(row[name] for row in rows) for kind, name in LEVELS.items()}
    differ = any(values.any() for values in found.values())  # else the table has said that all levels are 0
    trimmed = f", and what trimming takes from the least typical one (seed {seeds[int(run)]})" if alpha > 0 else ""
    pictures = [
        Picture(
            distribution_fan(fan, reference, delta=delta, plan=plan if alpha > 0 else None, run=int(run), seeds=seeds),
            f"{group}: distributions of all seeds, the three ways to put them together, and the tolerance around the "
            f"first of these{trimmed}.",
            f"Cumulative distributions of the logit gaps of {len(rows)} runs of {group} about their consensus",
        ),
        Picture(
            distance_curves(ALPHAS.tolist(), curves, delta=delta, levels=level[: curves.shape[1]], seeds=seeds),
            f"{group}: distance of each run to the mixture of the others after the share α of its outputs is left out. "
            "Its level is the α at which the curve meets δ, and 0 where it begins below.",
            f"Distance of every run of {group} to the others, which falls as more of its outputs are trimmed",
        ),
    ]
    if differ:
        pictures += [
            Picture(
                ranking_figure(level, _ranking(rows, level), seeds=seeds),
                f"{group}: levels from the most typical seed on, with bootstrap intervals over test examples.",
                f"Trimming levels of the seeds of {group} from the most typical one on",
            ),
            Picture(
                level_histograms(found, delta=delta),
                f"{group}: how many seeds have which level, for the three ways to put the others together.",
                f"Trimming levels of the runs of {group} by reference: mean {level.mean():.3f} against the mixture",
            ),
            Picture(
                level_against(
                    level,
                    {
                        "accuracy": _floats(row["accuracy"] for row in rows),
                        "mean churn": _floats(row["churn_mean"] for row in rows),
                        "ECE": _floats(row["ece"] for row in rows),
                    },
                ),
                f"{group}: level against accuracy, churn and calibration error, one point per run.",
                f"Trimming level against accuracy, churn and calibration error of {len(rows)} runs of {group}",
            ),
        ]
    if f"{index}.pairs" in arrays:
        pictures.append(
            Picture(
                pairwise_heat_map(arrays[f"{index}.pairs"], label="KS distance", seeds=seeds),
                f"{group}: KS distance of every pair of runs, outlying runs last.",
                f"Distances between every two runs of {group} as a map",
            )
        )
    return pictures


def _ranking(rows: list[RunRow], level: np.ndarray) -> SeedRanking:
    return SeedRanking(
        order=np.argsort(level, kind="stable"),
        rank_low=_floats(row["rank_low"] for row in rows),
        rank_high=_floats(row["rank_high"] for row in rows),
        level_low=_floats(row["level_low"] for row in rows),
        level_high=_floats(row["level_high"] for row in rows),
        ties_with_best=_floats(row["ties_with_best"] for row in rows) > 0,
        share_best=_floats(row["share_best"] for row in rows),
    )


def _floats(values: Iterable[float]) -> np.ndarray:
    """Collect one column of a table."""
    return np.array(list(values), dtype=np.float64)
