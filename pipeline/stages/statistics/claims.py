"""Claims of the trimming papers, decided for every reference and tolerance; the mixture at the DKW delta decides."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np

from analysis.classifier_metrics import run_metrics
from analysis.trimming.bootstrap import null_levels
from analysis.trimming.references import REFERENCES, ConsensusLevels, consensus_levels
from analysis.variability.claims import ClaimVerdict, claim_a1, claim_a2, claim_b1, claim_b3, claim_b4
from analysis.variability.information import COMPANIONS, claim_b2
from analysis.variability.seed_count import ensemble_curve
from analysis.variability.seed_ranking import select_seed
from pipeline.config.run import RunConfig
from pipeline.errors import UserError
from pipeline.stages.statistics.read import ClaimRow
from pipeline.stages.statistics.seed_runs import SeedRuns

DECIDING = "mixture"
"""Reference that decides: the only one that tends to the expected distribution by construction."""
REPEAT = 100
GROUP = 10


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
                    verdict = _decide(claim, group, kind, place, config.statistics.subsets, rng)
                    if verdict is not None:
                        rows.append(_row(verdict, name, kind, delta, place))
    if "B4" in wanted and groups:
        rows.extend(_transfer(config, groups))
    return rows


def _row(verdict: ClaimVerdict, group: str, kind: str, delta: float, place: int) -> ClaimRow:
    details = {name: value if value == value else None for name, value in verdict.details.items()}
    return {
        "group": group,
        "reference": kind,
        "delta": delta,
        "threshold": "DKW" if place == 0 else "fixed",
        "deciding": kind == DECIDING and place == 0,
        "claim": verdict.claim,
        "verdict": verdict.verdict,
        "effect": verdict.effect,
        "low": verdict.low,
        "high": verdict.high,
        "n": verdict.n,
        "test": verdict.test,
        "details": json.dumps(details, sort_keys=True),
    }


def _decide(
    claim: str, group: GroupLevels, kind: str, place: int, subsets: int, rng: np.random.Generator
) -> ClaimVerdict | None:
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
        return claim_a1(levels, group.draws[kind][place], group.metrics["accuracy"], null, examples=examples, rng=rng)
    if claim == "A2" and runs.classes == 2 and kind == DECIDING:
        by_quantity = {
            quantity: consensus_levels(runs.gaps(quantity), deltas=[delta], kinds=[kind]).level(kind, delta)
            for quantity in ("gap", "prob", "signed_gap", "loss")
        }
        return claim_a2(by_quantity, rng=rng)
    if claim == "B1" and len(levels) >= 4:
        order = rng.permutation(len(levels))
        half = len(levels) // 2
        sizes = sorted({*(2**k for k in range(int(np.log2(half)) + 1)), half})
        curve = ensemble_curve(
            group.gaps[order[:half]],
            group.gaps[order[half:]],
            sizes=sizes,
            delta=delta,
            rng=rng,
            kind=kind,
            subsets=max(2, subsets),
        )
        return claim_b1(curve, rng=rng, reference_runs=len(levels) - half)
    if claim == "B2" and len(levels) >= 2:
        return _information(group, kind, delta, levels, rng)
    if claim == "B3" and runs.val_logits is not None:
        return _selection(group, kind, delta, rng)
    return None


def _information(
    group: GroupLevels, kind: str, delta: float, levels: np.ndarray, rng: np.random.Generator
) -> ClaimVerdict:
    """B2 on disjoint repeats of `REPEAT` runs each."""
    companions = np.column_stack([group.metrics["accuracy"], group.metrics["churn_mean"], group.metrics["ece"]])
    assert companions.shape[1] == len(COMPANIONS)
    order = rng.permutation(group.gaps.shape[1])
    middle = len(order) // 2
    halves = np.stack(
        [
            consensus_levels(group.gaps[:, part], deltas=[delta], kinds=[kind]).level(kind, delta)
            for part in (order[:middle], order[middle:])
        ]
    )
    repeats = np.array_split(np.arange(len(levels)), max(1, len(levels) // REPEAT))
    return claim_b2(
        [levels[part] for part in repeats],
        [halves[:, part] for part in repeats],
        [companions[part] for part in repeats],
        rng=rng,
    )


def _selection(group: GroupLevels, kind: str, delta: float, rng: np.random.Generator) -> ClaimVerdict:
    """B3 on random groups of `GROUP` runs: chosen on validation examples, judged on the test split."""
    runs = group.runs
    validation = runs.gaps("auto", "val")
    levels = consensus_levels(validation, deltas=[delta], kinds=[kind]).level(kind, delta)
    val_labels = runs.val_labels
    assert val_labels is not None and runs.val_logits is not None
    val_outputs = runs.gaps("gap", "val") if runs.logits.shape[-1] <= 2 else runs.val_logits.astype(np.float64)
    val_accuracy = run_metrics(val_outputs, val_labels)["accuracy"]
    gains: dict[str, list[float]] = {"nll": [], "ece": []}
    accuracy = []
    order = rng.permutation(len(levels))
    for first in range(0, len(order) - GROUP + 1, GROUP):
        members = order[first : first + GROUP]
        chosen = members[select_seed(levels[members], val_accuracy[members])]
        for name, values in gains.items():
            values.append(float(group.metrics[name][members].mean() - group.metrics[name][chosen]))
        accuracy.append(float(group.metrics["accuracy"][chosen] - group.metrics["accuracy"][members].mean()))
    arrays = {name: np.array(values) for name, values in gains.items()}
    return claim_b3(arrays, np.array(accuracy), rng=rng)


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
            rng = np.random.default_rng([config.statistics.seed, 11, place, REFERENCES.index(kind)])
            verdict = claim_b4(arms[0], arms[1], rng=rng, stand_in=config.statistics.stand_in)
            rows.append(_row(verdict, f"{scratch} against {tuned}", kind, delta, place))
    return rows
