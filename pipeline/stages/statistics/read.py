"""What stage ``statistics`` wrote, by file: levels, companions, seed counts, contrasts, verdicts and figure arrays."""

from __future__ import annotations

from typing import Any, NotRequired, TypedDict

import numpy as np

from pipeline.engine.artifacts import Artifact
from pipeline.reporting.groups import group_names

RUNS = "runs.parquet"
GROUPS = "groups.parquet"
CORRELATIONS = "correlations.parquet"
SEED_COUNT = "seed_count.parquet"
RELEASED = "released.parquet"
EPOCHS = "epochs.parquet"
CONTRASTS = "contrasts.parquet"
CLAIMS = "claims.parquet"
FIGURES = "figures.safetensors"

ALPHAS = np.linspace(0, 0.9, 46)
"""Trimming shares at which the robust distances of the figures are taken."""


class RunRow(TypedDict):
    """One run against the others of its group; NaN where the group has one run.

    ``level_REFERENCE_PLACE`` is the trimming level against a reference at the DKW tolerance or one of the fixed ones;
    ``ks``, ``floor`` and ``attainable`` are the plain distance, the smallest that trimming reaches, and whether that
    is within the DKW tolerance.
    """

    group: str
    seed: str
    key: str
    accuracy: float
    nll: float
    brier: float
    ece: float
    ece_adaptive: float
    churn_logit_mean: float
    churn_majority: float
    error_agreement: NotRequired[float]
    churn_mean: float
    q01: float
    q05: float
    q25: float
    q50: float
    q75: float
    q95: float
    q99: float
    largest_atom: float
    level_logit_mean_dkw: float
    level_logit_mean_fixed_1: float
    level_logit_mean_fixed_2: float
    ks_logit_mean: float
    floor_logit_mean: float
    attainable_logit_mean: bool
    level_mixture_dkw: float
    level_mixture_fixed_1: float
    level_mixture_fixed_2: float
    ks_mixture: float
    floor_mixture: float
    attainable_mixture: bool
    level_quantile_mean_dkw: float
    level_quantile_mean_fixed_1: float
    level_quantile_mean_fixed_2: float
    ks_quantile_mean: float
    floor_quantile_mean: float
    attainable_quantile_mean: bool
    level_low: float
    level_high: float
    rank: float
    rank_low: float
    rank_high: float
    ties_with_best: float
    share_best: float
    level_scaled: float


class GroupRow(TypedDict):
    """Levels of one group against one reference at one tolerance, with the group's companions."""

    group: str
    reference: str
    delta: float
    threshold: str
    noise_limited: bool
    runs: int
    examples: int
    level_mean: float
    level_sd: float
    level_low: float
    level_high: float
    level_halves: float
    share_above_zero: float
    unattainable: int
    ks_mean: float
    churn_pairwise: float
    churn_low: float
    churn_high: float
    ambiguity: float
    discrepancy: float
    accuracy_mean: float
    accuracy_sd: float
    ece_mean: float


class CorrelationRow(TypedDict):
    """Rank correlation of a group's levels with one companion."""

    group: str
    reference: str
    companion: str
    spearman: float
    low: float
    high: float
    runs: int


class SeedCountRow(TypedDict):
    """One point of a curve over the number of runs (``kind`` is a reference or half_to_half), or the recommendation."""

    group: str
    kind: str
    runs: int
    ks: float
    ks_low: float
    ks_high: float
    level: float
    level_low: float
    level_high: float
    recommended: int
    text: str


class ReleasedRow(TypedDict):
    """Levels of one group under one published protocol."""

    group: str
    protocol: str
    delta: float
    level_mean: float
    level_sd: float
    at_sentinel: float
    clipped: float
    runs: int


class EpochLevelRow(TypedDict):
    """One run against the others at one snapshot."""

    group: str
    epoch: float
    step: int
    seed: str
    level: float
    churn_mean: float
    accuracy: float
    delta: float


class ContrastRow(TypedDict):
    """Difference of two groups in one measure of variability."""

    first: str
    second: str
    measure: str
    difference: float
    low: float
    high: float


class ClaimRow(TypedDict):
    """What one group says about one claim, at one reference and tolerance.

    ``p`` and ``p_against`` are one-sided p-values before adjustment, NaN where nothing was tested;
    ``details`` are JSON.
    """

    group: str
    reference: str
    delta: float
    threshold: str
    deciding: bool
    claim: str
    outcome: str
    evidence: str
    p: float
    p_against: float
    details: str


def _named(artifact: Artifact, file: str) -> list[Any]:
    """Read a table whose groups are called as pages call them."""
    names = group_names(artifact.metrics["groups"])
    rows = artifact.rows(file, optional=True)
    for row in rows:
        for column in {"group", "first", "second"} & {*row}:
            row[column] = " against ".join(names.get(one, one) for one in row[column].split(" against "))
    return rows


def read_runs(artifact: Artifact) -> list[RunRow]:
    """Read every run of every group."""
    return _named(artifact, RUNS)


def read_groups(artifact: Artifact) -> list[GroupRow]:
    """Read the levels of every group of at least two runs."""
    return _named(artifact, GROUPS)


def read_correlations(artifact: Artifact) -> list[CorrelationRow]:
    """Read the rank correlations of every group of at least three runs."""
    return _named(artifact, CORRELATIONS)


def read_seed_counts(artifact: Artifact) -> list[SeedCountRow]:
    """Read the curves over the number of runs of every group of at least eight, and the recommendations."""
    return _named(artifact, SEED_COUNT)


def read_released(artifact: Artifact) -> list[ReleasedRow]:
    """Read the levels under published protocols; empty without ``statistics.released``."""
    return _named(artifact, RELEASED)


def read_epochs(artifact: Artifact) -> list[EpochLevelRow]:
    """Read the levels at every snapshot; empty without ``statistics.history``."""
    return _named(artifact, EPOCHS)


def read_contrasts(artifact: Artifact) -> list[ContrastRow]:
    """Read the differences between every two groups."""
    return _named(artifact, CONTRASTS)


def read_claims(artifact: Artifact) -> list[ClaimRow]:
    """Read the verdicts on the claims of ``statistics.claims``."""
    return _named(artifact, CLAIMS)


def read_figures(artifact: Artifact) -> dict[str, np.ndarray]:
    """Read the arrays of the figures, each under ``INDEX.NAME`` by the group's place in the experiment."""
    return artifact.arrays(FIGURES)
