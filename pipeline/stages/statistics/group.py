"""One group of runs that differ in their seed: levels, companions, intervals, seed counts and figure arrays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import torch

from analysis.classifier_metrics import churn_matrix, decisions, gap_quantiles, largest_atom, run_metrics
from analysis.resampling import rank_correlation
from analysis.trimming.bootstrap import bootstrap_level_sets
from analysis.trimming.distributions import StepReference
from analysis.trimming.level import optimal_trimming, robust_ks_curves
from analysis.trimming.references import REFERENCES, ConsensusLevels, consensus_levels, left_out_levels
from analysis.trimming.thresholds import examples_for_threshold
from analysis.variability.contrasts import group_interval
from analysis.variability.ensemble_levels import default_sizes
from analysis.variability.gaps import fit_temperatures
from analysis.variability.multiplicity import ambiguity, discrepancy
from analysis.variability.seed_count import ensemble_curve, recommend_seed_count
from analysis.variability.seed_ranking import pairwise_ks, rank_seeds
from analysis.verdicts.intervals import jackknife_share_interval
from pipeline.config.run import RunConfig
from pipeline.stages.statistics.claims import GroupLevels
from pipeline.stages.statistics.foreseen import tolerance_of
from pipeline.stages.statistics.read import ALPHAS, CorrelationRow, GroupRow, ReleasedRow, RunRow, SeedCountRow
from pipeline.stages.statistics.released import released_rows
from pipeline.stages.statistics.seed_runs import SeedRuns

FAN = 401
"""Quantiles of each run that are kept for the figures."""
PAIRS_UP_TO = 60
"""Runs of a group up to which pairwise distances are kept."""


@dataclass(frozen=True)
class GroupResult:
    """What one group of runs adds to the tables and figures.

    Attributes
    ----------
    runs, groups, correlations, seed_counts, released : list of rows
        By table; all but the first are empty for a single run.
    arrays : dict of str to ndarray
        Of the figures.
    notes : list of str
        What the reader has to know.
    levels : GroupLevels or None
        What the claims are decided on; None for a single run.
    """

    runs: list[RunRow]
    groups: list[GroupRow] = field(default_factory=list)
    correlations: list[CorrelationRow] = field(default_factory=list)
    seed_counts: list[SeedCountRow] = field(default_factory=list)
    released: list[ReleasedRow] = field(default_factory=list)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    levels: GroupLevels | None = None


def measure_group(
    config: RunConfig, index: int, runs: SeedRuns, rng: np.random.Generator, say: Callable[[str], None]
) -> GroupResult:
    """Compute the rows, figure arrays and levels of one group.

    Parameters
    ----------
    config : RunConfig
    index : int
        Place of the group in the experiment, the first part of its arrays' names.
    runs : SeedRuns
        Their outputs.
    rng : numpy Generator
        Of this group alone.
    say : callable
        Shows one line of progress.
    """
    chosen = config.statistics
    outputs, gaps = runs.outputs(), runs.gaps(chosen.quantity)
    decided = decisions(outputs)
    churn = churn_matrix(decided)
    metrics = run_metrics(outputs, runs.labels, bins=chosen.bins, churn=churn)
    quantiles = gap_quantiles(gaps)
    count, examples = gaps.shape
    deltas, notes = _thresholds(config, examples)
    fan = {f"{index}.fan": np.quantile(gaps, np.linspace(0, 1, FAN), axis=1).T.astype(np.float32)}
    if count < 2:
        notes.append(f"{runs.name}: one run, so that nothing can be said about seeds.")
        alone = [_run_row(runs, run, metrics, quantiles, gaps, None, {}) for run in range(count)]
        return GroupResult(alone, arrays=fan, notes=notes)
    found = consensus_levels(gaps, deltas=deltas, noise_delta=deltas[0])
    draws = {
        kind: bootstrap_level_sets(gaps, kind=kind, deltas=deltas, draws=chosen.draws, rng=rng) for kind in REFERENCES
    }
    main = found.level("mixture", deltas[0])
    scaled = _scaled_levels(runs, deltas[0], count)
    ranking = rank_seeds(main, draws["mixture"][0])
    extra = {
        "level_low": ranking.level_low,
        "level_high": ranking.level_high,
        "rank": np.argsort(np.argsort(main, kind="stable")) + 1.0,
        "rank_low": ranking.rank_low,
        "rank_high": ranking.rank_high,
        "ties_with_best": ranking.ties_with_best.astype(np.float64),
        "share_best": ranking.share_best,
        "level_scaled": scaled,
    }
    # every part draws from the same generator, in this order
    multiplicity = ambiguity(decided), discrepancy(churn)
    groups = _group_rows(runs, churn, multiplicity, metrics, found, draws, deltas, gaps, rng)
    correlations = _correlation_rows(runs, metrics, found, deltas) if count >= 3 else []
    seed_counts = _seed_count_rows(say, runs.name, gaps, deltas[0], chosen.subsets, rng) if count >= 8 else []
    released = released_rows(runs.name, gaps, chosen.eps, rng) if chosen.released and count >= 4 else []
    return GroupResult(
        [_run_row(runs, run, metrics, quantiles, gaps, found, extra) for run in range(count)],
        groups,
        correlations,
        seed_counts,
        released,
        fan | _figure_arrays(index, gaps, main, deltas[0]),
        notes,
        GroupLevels(runs, gaps, deltas, found, draws, metrics, churn, scaled),
    )


def _thresholds(config: RunConfig, examples: int) -> tuple[list[float], list[str]]:
    """DKW tolerance first, then the fixed ones; also a note for each that is below the noise."""
    dkw = tolerance_of(config, examples)
    notes = []
    for delta in config.statistics.deltas:
        if delta < dkw:
            need = examples_for_threshold(delta, eps=config.statistics.eps)
            notes.append(f"delta {delta} is noise-limited at {examples} examples; it needs {need}.")
    return [dkw, *(delta for delta in config.statistics.deltas if delta != dkw)], notes


def _scaled_levels(runs: SeedRuns, delta: float, count: int) -> np.ndarray:
    """Levels after each run's own temperature, fitted on validation examples."""
    if runs.val_logits is None or runs.logits.shape[-1] > 2:
        return np.full(count, np.nan)
    assert runs.val_labels is not None
    temperatures = fit_temperatures(runs.gaps("gap", "val"), runs.val_labels)
    scaled = runs.gaps("gap") / temperatures[:, None]
    return consensus_levels(scaled, deltas=[delta], kinds=["mixture"]).level("mixture", delta)


def _run_row(
    runs: SeedRuns,
    run: int,
    metrics: dict[str, np.ndarray],
    quantiles: np.ndarray,
    gaps: np.ndarray,
    found: ConsensusLevels | None,
    extra: dict[str, np.ndarray],
) -> RunRow:
    row: dict[str, Any] = {"group": runs.name, "seed": runs.seeds[run], "key": runs.keys[run]}
    row |= {name: float(values[run]) for name, values in metrics.items() if name != "churn_mean"}
    row["churn_mean"] = float(metrics["churn_mean"][run]) if "churn_mean" in metrics else float("nan")
    for name, value in zip(("q01", "q05", "q25", "q50", "q75", "q95", "q99"), quantiles[run], strict=True):
        row[name] = float(value)
    row["largest_atom"] = float(largest_atom(gaps[run : run + 1])[0])
    for kind in REFERENCES:
        for place in ("dkw", "fixed_1", "fixed_2"):
            row[f"level_{kind}_{place}"] = float("nan")
        row[f"ks_{kind}"] = row[f"floor_{kind}"] = float("nan")
        row[f"attainable_{kind}"] = True
    for name in ("level_low", "level_high", "rank", "rank_low", "rank_high", "ties_with_best", "share_best"):
        row[name] = float(extra[name][run]) if name in extra else float("nan")
    row["level_scaled"] = float(extra["level_scaled"][run]) if "level_scaled" in extra else float("nan")
    if found is not None:
        deltas = list(found.noise_limited)
        for kind in REFERENCES:
            for place, delta in zip(("dkw", "fixed_1", "fixed_2"), deltas, strict=False):
                row[f"level_{kind}_{place}"] = float(found.level(kind, delta)[run])
            result = found.results[kind, deltas[0]]
            row[f"ks_{kind}"], row[f"floor_{kind}"] = float(result.ks[run]), float(result.floor[run])
            row[f"attainable_{kind}"] = bool(result.attainable[run])
    return cast(RunRow, row)


def _group_rows(
    runs: SeedRuns,
    matrix: np.ndarray,
    multiplicity: tuple[float, float],
    metrics: dict[str, np.ndarray],
    found: ConsensusLevels,
    draws: dict[str, np.ndarray],
    deltas: list[float],
    gaps: np.ndarray,
    rng: np.random.Generator,
) -> list[GroupRow]:
    churn = group_interval(matrix, low=0, high=1)
    rest = left_out_levels(gaps, deltas=deltas) if len(gaps) > 2 else []
    order = rng.permutation(len(gaps))
    half = (len(gaps) + 1) // 2
    apart = None if len(gaps) < 4 else consensus_levels(gaps[order[:half]], gaps[order[half:]], deltas=deltas)
    rows: list[GroupRow] = []
    for kind in REFERENCES:
        for place, delta in enumerate(deltas):
            level = found.level(kind, delta)
            # runs vary, and so do the examples, jointly for all runs
            left_out = [float(others.level(kind, delta).mean()) for others in rest]
            variance = float(draws[kind][place].mean(axis=1).var(ddof=1))
            low, high = jackknife_share_interval(level.tolist(), left_out, variance=variance)
            rows.append(
                {
                    "group": runs.name,
                    "reference": kind,
                    "delta": delta,
                    "threshold": "DKW" if place == 0 else "fixed",
                    "noise_limited": found.noise_limited[delta],
                    "runs": len(level),
                    "examples": gaps.shape[1],
                    "level_mean": float(level.mean()),
                    "level_sd": float(level.std(ddof=1)),
                    "level_low": low,
                    "level_high": high,
                    "level_halves": float("nan") if apart is None else float(apart.level(kind, delta).mean()),
                    "share_above_zero": float((level > 0).mean()),
                    "unattainable": int((~found.results[kind, delta].attainable).sum()),
                    "ks_mean": float(found.results[kind, delta].ks.mean()),
                    "churn_pairwise": float(churn.estimate),
                    "churn_low": float(churn.low),
                    "churn_high": float(churn.high),
                    "ambiguity": multiplicity[0],
                    "discrepancy": multiplicity[1],
                    "accuracy_mean": float(metrics["accuracy"].mean()),
                    "accuracy_sd": float(metrics["accuracy"].std(ddof=1)),
                    "ece_mean": float(metrics["ece"].mean()),
                }
            )
    return rows


def _correlation_rows(
    runs: SeedRuns,
    metrics: dict[str, np.ndarray],
    found: ConsensusLevels,
    deltas: list[float],
) -> list[CorrelationRow]:
    rows: list[CorrelationRow] = []
    for kind in REFERENCES:
        level = found.level(kind, deltas[0])
        if np.ptp(level) == 0:  # nothing to rank
            continue
        for name, values in metrics.items():
            link = rank_correlation(level, values)
            rows.append(
                {
                    "group": runs.name,
                    "reference": kind,
                    "companion": name,
                    "spearman": float(link.estimate),
                    "low": float(link.low),
                    "high": float(link.high),
                    "runs": len(level),
                }
            )
    return rows


def _seed_count_rows(
    say: Callable[[str], None], name: str, gaps: np.ndarray, delta: float, subsets: int, rng: np.random.Generator
) -> list[SeedCountRow]:
    """Rows of the curve over the number of runs, of the half-to-half distances, and the recommendation."""
    order = rng.permutation(len(gaps))
    left, right = gaps[order[: len(gaps) // 2]], gaps[order[len(gaps) // 2 :]]
    sizes = default_sizes(len(left))
    blank: SeedCountRow = {
        "group": name,
        "kind": "",
        "runs": 0,
        "ks": np.nan,
        "ks_low": np.nan,
        "ks_high": np.nan,
        "level": np.nan,
        "level_low": np.nan,
        "level_high": np.nan,
        "recommended": -1,
        "text": "",
    }
    rows: list[SeedCountRow] = []
    for kind in REFERENCES:
        curve = ensemble_curve(left, right, sizes=sizes, delta=delta, rng=rng, kind=kind, subsets=subsets)
        for size, ks, level in zip(sizes, curve.ks, curve.level, strict=True):
            row: SeedCountRow = {**blank, "kind": kind, "runs": size}
            row["ks"], row["level"] = float(ks.mean()), float(level.mean())
            row["ks_low"], row["ks_high"] = float(np.quantile(ks, 0.025)), float(np.quantile(ks, 0.975))
            row["level_low"], row["level_high"] = float(np.quantile(level, 0.025)), float(np.quantile(level, 0.975))
            rows.append(row)
    if len(gaps) >= 10:
        count = recommend_seed_count(gaps, delta=delta, rng=rng, splits=max(2, subsets))
        for rung, ks, sd in zip(count.rungs, count.distance, count.distance_sd, strict=True):
            low, high = max(0.0, float(ks - 2 * sd)), min(1.0, float(ks + 2 * sd))
            rows.append(
                {**blank, "kind": "half_to_half", "runs": int(rung), "ks": float(ks), "ks_low": low, "ks_high": high}
            )
        say(f"{name}: {count.describe()}")
        wanted = -1 if count.recommended is None else int(count.recommended)
        rows.append(
            {
                **blank,
                "kind": "recommendation",
                "runs": int(count.planned),
                "ks": count.threshold,
                "recommended": wanted,
                "text": count.describe(),
            }
        )
    return rows


def _figure_arrays(index: int, gaps: np.ndarray, level: np.ndarray, delta: float) -> dict[str, np.ndarray]:
    arrays = {}
    grid = np.linspace(0, 1, FAN)
    arrays[f"{index}.reference.mixture"] = np.quantile(gaps, grid)
    arrays[f"{index}.reference.logit_mean"] = np.quantile(gaps.mean(axis=0), grid)
    arrays[f"{index}.reference.quantile_mean"] = np.quantile(np.sort(gaps, axis=1).mean(axis=0), grid)
    pooled = StepReference(torch.from_numpy(np.sort(gaps, axis=None))[None], float(gaps.shape[1]), leave_out=True)
    arrays[f"{index}.curves"] = robust_ks_curves(gaps[:PAIRS_UP_TO], pooled, alphas=ALPHAS.tolist())
    if len(gaps) <= PAIRS_UP_TO:
        arrays[f"{index}.pairs"] = pairwise_ks(gaps)
    shown = int(np.argsort(level)[-1])
    others = np.delete(gaps, shown, axis=0).ravel()
    plan = optimal_trimming(gaps[shown], others, alpha=min(float(level[shown]), 0.99))
    for part in ("values", "kept", "trimmed_cdf", "candidate_cdf", "reference_cdf"):
        arrays[f"{index}.plan.{part}"] = getattr(plan, part)
    arrays[f"{index}.plan.run"] = np.array([shown, plan.distance, plan.alpha, delta])
    return arrays
