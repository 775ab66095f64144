"""Claims of the trimming papers, decided for every reference and tolerance; the mixture at the DKW delta decides."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.classifier_metrics import run_metrics
from analysis.trimming.bootstrap import null_levels
from analysis.trimming.references import REFERENCES, ConsensusLevels, consensus_levels
from analysis.trimming.thresholds import dkw_threshold
from analysis.variability.claims import ClaimFinding, claim_a1, claim_a2, claim_b4
from analysis.variability.ensemble_levels import claim_b1, default_sizes, resampled_levels
from analysis.variability.information import claim_b2
from analysis.variability.selection import (
    accuracy_guard,
    claim_b3,
    ensemble_distance,
    rival_gains,
    selection_gains,
)
from analysis.verdicts import OPEN, UNDEFINED_SHARE
from pipeline.config.run import RunConfig
from pipeline.errors import UserError
from pipeline.stages.statistics.read import ClaimRow
from pipeline.stages.statistics.seed_runs import SeedRuns

DECIDING = "mixture"
"""Reference that decides: the only one that tends to the expected distribution by construction."""
GROUP = 10
"""Runs among which one is chosen (B3)."""
RIVAL = "B3-rival"
"""The choice of the run nearest the ensemble, judged as the choice by level is."""


@dataclass(frozen=True)
class GroupLevels:
    """What one group's levels are: found once, used by every claim.

    Attributes
    ----------
    runs : SeedRuns
        Outputs.
    gaps : ndarray, shape (m, n)
        Compared quantity.
    deltas : list of float
        DKW tolerance first, then the fixed ones.
    found : ConsensusLevels
        Leave-one-out levels.
    draws : dict of str to ndarray, shape (d, b, m)
        Bootstrap levels by reference.
    metrics : dict of str to ndarray, shape (m,)
        Companion metrics.
    churn : ndarray, shape (m, m)
        Share of differing decisions of every pair of runs.
    scaled : ndarray, shape (m,)
        Mixture levels at the DKW tolerance after per-run temperature scaling; NaN where that is not possible.
    """

    runs: SeedRuns
    gaps: np.ndarray
    deltas: list[float]
    found: ConsensusLevels
    draws: dict[str, np.ndarray]
    metrics: dict[str, np.ndarray]
    churn: np.ndarray
    scaled: np.ndarray

    def spread(self, kind: str, delta: float) -> dict[str, np.ndarray]:
        """Measures by which groups are compared."""
        measures = {"level": self.found.level(kind, delta), "churn": self.churn}
        if not np.isnan(self.scaled).any():
            measures["scaled_level"] = self.scaled
        return measures


def decide_claims(config: RunConfig, groups: dict[str, GroupLevels]) -> list[ClaimRow]:
    """Decide the claims that ``statistics.claims`` names; one row for each group, reference and tolerance.

    Raises
    ------
    UserError
        If an arm of B4 names no group of runs.
    """
    wanted = config.statistics.claims
    rows: list[ClaimRow] = []
    for index, (name, group) in enumerate(groups.items()):
        for kind in REFERENCES:
            for place, delta in enumerate(group.deltas):
                rng = np.random.default_rng([config.statistics.seed, 7, index, place, REFERENCES.index(kind)])
                for claim in wanted:
                    finding = _decide(claim, group, kind, place, config, rng)
                    if finding is not None:
                        rows.append(_row(_counting(finding, [group.runs]), name, kind, delta, place))
    if "B4" in wanted and groups:
        rows.extend(_transfer(config, groups))
    return rows


def _counting(finding: ClaimFinding, groups: Sequence[SeedRuns]) -> ClaimFinding:
    """Name the runs that were left out; where they are too many, those that are left decide nothing."""
    lost = sum(len(runs.dropped) for runs in groups)
    if not lost:
        return finding
    decided, count = finding.decided, lost + sum(len(runs.seeds) for runs in groups)
    evidence = f"{decided.evidence} {lost} of {count} runs were left out, their outputs are not finite"
    if lost > UNDEFINED_SHARE * count:
        evidence += f"; more than {UNDEFINED_SHARE:.0%} decide nothing"
        decided = dataclasses.replace(decided, outcome=OPEN, p=None, p_against=None)
    return dataclasses.replace(finding, decided=dataclasses.replace(decided, evidence=f"{evidence}."))


def _row(finding: ClaimFinding, group: str, kind: str, delta: float, place: int) -> ClaimRow:
    details = {name: value if value == value else None for name, value in finding.details.items()}
    decided = finding.decided
    return {
        "group": group,
        "reference": kind,
        "delta": delta,
        "threshold": "DKW" if place == 0 else "fixed",
        "deciding": kind == DECIDING and place == 0,
        "claim": finding.claim,
        "outcome": decided.outcome,
        "evidence": decided.evidence,
        "p": math.nan if decided.p is None else decided.p,
        "p_against": math.nan if decided.p_against is None else decided.p_against,
        "details": json.dumps(details, sort_keys=True),
    }


def _decide(
    claim: str, group: GroupLevels, kind: str, place: int, config: RunConfig, rng: np.random.Generator
) -> ClaimFinding | None:
    delta, runs = group.deltas[place], group.runs
    levels = group.found.level(kind, delta)
    examples = group.gaps.shape[1]
    if claim == "A1":
        pooled = {
            "mixture": group.gaps.ravel(),
            "logit_mean": group.gaps.mean(axis=0),
            "quantile_mean": np.sort(group.gaps, axis=1).mean(axis=0),
        }[kind]
        null = null_levels(pooled, examples, delta=delta, draws=400, rng=rng)
        return claim_a1(levels, group.draws[kind][place], group.metrics["accuracy"], null, examples=examples)
    if claim == "A2" and runs.classes == 2 and kind == DECIDING:
        by_quantity = {
            quantity: consensus_levels(runs.gaps(quantity), deltas=[delta], kinds=[kind]).level(kind, delta)
            for quantity in ("gap", "prob", "signed_gap", "loss")
        }
        return claim_a2(by_quantity)
    if claim == "B1" and len(levels) >= 4:
        order = rng.permutation(len(levels))
        half = len(levels) // 2
        found = resampled_levels(
            group.gaps[order[:half]],
            group.gaps[order[half:]],
            sizes=default_sizes(half),
            delta=delta,
            rng=rng,
            kind=kind,
            draws=config.statistics.draws,
        )
        return claim_b1(found)
    if claim == "B2" and len(levels) >= 2:
        return _information(group, kind, delta, config.statistics.bins, rng)
    if claim in ("B3", RIVAL) and runs.val_logits is not None and len(levels) >= GROUP:
        return _selection(group, kind, place, config.statistics.eps, rng, claim)
    return None


def _information(group: GroupLevels, kind: str, delta: float, bins: int, rng: np.random.Generator) -> ClaimFinding:
    """B2 on levels and companions of two random halves of the test examples."""
    order = rng.permutation(group.gaps.shape[1])
    middle = len(order) // 2
    outputs, labels = group.runs.outputs(), group.runs.labels
    levels, companions = [], []
    for part in (order[:middle], order[middle:]):
        levels.append(consensus_levels(group.gaps[:, part], deltas=[delta], kinds=[kind]).level(kind, delta))
        metrics = run_metrics(outputs[:, part], labels[part], bins=bins)
        companions.append(np.column_stack([metrics["accuracy"], metrics["churn_mean"], metrics["ece"]]))
    return claim_b2(np.stack(levels), np.stack(companions), rng=rng)


def _selection(
    group: GroupLevels, kind: str, place: int, eps: float, rng: np.random.Generator, claim: str
) -> ClaimFinding:
    """B3, or its rival, on random groups of `GROUP` runs: chosen on validation examples, judged on the test split.

    Where the test examples' DKW tolerance decides, validation levels have that of the validation examples.
    """
    runs = group.runs
    val_labels = runs.val_labels
    assert val_labels is not None and runs.val_logits is not None
    validation, examples = runs.gaps("auto", "val"), len(val_labels)
    try:
        delta = group.deltas[place] if place else dkw_threshold(examples, examples, eps=eps)
        guard = accuracy_guard(examples, eps=eps)
    except ValueError as error:
        raise UserError(f"B3 of {runs.name} chooses on {examples} validation examples: {error}") from error
    levels = consensus_levels(validation, deltas=[delta], kinds=[kind]).level(kind, delta)
    val_outputs = runs.gaps("gap", "val") if runs.logits.shape[-1] <= 2 else runs.val_logits.astype(np.float64)
    count = len(levels) // GROUP
    gains = (rival_gains if claim == RIVAL else selection_gains)(
        levels,
        run_metrics(val_outputs, val_labels)["accuracy"],
        ensemble_distance(val_outputs),
        {name: group.metrics[name] for name in ("nll", "ece", "accuracy")},
        rng.permutation(len(levels))[: count * GROUP].reshape(count, GROUP),
        guard=guard,
    )
    return claim_b3(gains, claim=claim)


def _transfer(config: RunConfig, groups: dict[str, GroupLevels]) -> list[ClaimRow]:
    scratch, tuned = config.statistics.arms
    missing = [arm for arm in (scratch, tuned) if arm not in groups]
    if missing:
        raise UserError(
            f"statistics.arms names {', '.join(map(repr, missing))}, but the groups of cells with at least two runs "
            f"are {', '.join(map(repr, groups))}."
        )
    rows: list[ClaimRow] = []
    for kind in REFERENCES:
        for place, delta in enumerate(groups[scratch].deltas):
            if delta not in groups[tuned].deltas:
                continue
            arms = [groups[arm].spread(kind, delta) for arm in (scratch, tuned)]
            finding = _counting(claim_b4(arms[0], arms[1]), [groups[scratch].runs, groups[tuned].runs])
            rows.append(_row(finding, f"{scratch} against {tuned}", kind, delta, place))
    return rows
