"""Decide the targets S1 to S5 of a shift study for one cell.

The draws of P in one study share its one sample M, so they are no independent units for a claim about M: p-values of
the draws are combined by a rule that is valid however they depend on one another, and differences over draws carry
the correction for shared rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
from scipy import stats

from analysis.shift.power import RejectionRate
from analysis.shift.probes import ProbeScore, corrected_difference, paired_difference
from analysis.verdicts import (
    ALPHA,
    FAILS,
    HOLDS,
    MIN_RUNS,
    OPEN,
    Claim,
    Decided,
    Standing,
    above_by_interval,
    all_hold,
    below_by_interval,
    share_above,
    share_below,
)
from analysis.verdicts.rules import Outcome
from pipeline.engine.artifacts import Artifact
from pipeline.stages.shift.read import (
    CalibrationRow,
    OutcomeRow,
    read_calibration,
    read_first_draw,
    read_power,
    read_probes,
)

POWER = ((20, 0.7, "MMD ≥ 0.7 at 20 rows a side"), (40, 0.9, "about 1 at 40 rows a side, read as 0.9"))
FALSE_LIMIT = 0.1
"""Rate of false rejections at the 5 % level that a calibrated test stays below."""
NULL_DRAWS = 100
"""Null draws below which a test's level is not judged."""
INDISTINCT = 0.6
"""AUC of a domain classifier below which two sets of texts count as the same for practical purposes."""
AUC_MARGIN = 0.02
"""Difference in AUC that counts."""
POINT = 0.01
"""Difference in balanced accuracy that counts."""
FIELDS = ("data", "model", "features", "shift")
"""What must be as published: both sources, the encoder, its layer and pooling, and the tests."""
NO_HELP, ROBUST = "fine-tuning on P does not help on M", "the probe on the final embedding is robust"
RIVAL_CLAIMS = (
    ("fine_tuned", "training all weights on P does worse than {probe}", NO_HELP),
    ("head_only", "training the network's own head on P does worse than {probe}", NO_HELP),
    ("random_features", "{probe} beats random features of the same embedding", ROBUST),
    ("random_weights", "{probe} beats the same probe on a network without pre-training", ROBUST),
)
"""Rival, claim that it loses to the probe on P, and what was published."""


def select(rows: list[OutcomeRow], pair: str, test: str, representation: str = "embedding") -> list[OutcomeRow]:
    """Select the rows of one pair, test and representation that are not within a class."""
    return [
        row
        for row in rows
        if (row["pair"], row["test"], row["representation"]) == (pair, test, representation) and not row["class"]
    ]


def claims(name: str, rows: list[OutcomeRow], artifact: Artifact) -> list[Claim]:
    """Decide the claims of one cell.

    Parameters
    ----------
    name : str
        Label of the cell.
    rows : list of OutcomeRow
        Table of its tests.
    artifact : Artifact
        Of stage ``shift``; power and probes are judged where they were computed.
    """
    first = read_first_draw(artifact)
    leading = min(5, first.reference.shape[1])
    distance = ", ".join(f"{value:.2f}" for value in artifact.metrics["ks"]["distance"][:leading])
    found = [
        Claim(
            "S1",
            f"{name}: M is displaced from P on the pooled principal components",
            displaced(rows, "pooled-PCA KS", f"KS distance of components 1 to {leading} in the first draw: {distance}"),
            FIELDS,
            "M visibly displaced",
            Standing("published", band="ours"),
        ),
        Claim(
            "S2",
            f"{name}: MMD distinguishes P from M",
            displaced(rows, "MMD²", _floor(select(rows, "P-M", "MMD²"))),
            FIELDS,
            "p of P-M at the floor for MMD",
            Standing("derived", band="ours"),
        ),
        Claim(
            "S2, level",
            f"{name}: each test distinguishes two draws of P in less than {FALSE_LIMIT:.0%} of pairs at its 5 % level",
            false_rejections(read_calibration(artifact)),
            FIELDS,
            "P-P' at the nominal level",
            Standing("derived", band="ours"),
        ),
        Claim(
            "S4",
            f"{name}: surface cues distinguish P from M at least as well as the embedding does (within {AUC_MARGIN:g})",
            cues(rows),
            FIELDS,
            "both reported; cues may win",
            Standing("derived", band="ours"),
        ),
    ]
    if probes := read_probes(artifact):
        found += _probes(name, probes)
    return found + [_power(name, row, bound, target) for row, bound, target in _judged(read_power(artifact))]


def _floor(mmd: Sequence[OutcomeRow]) -> str:
    reached = sum(row["p"] <= row["smallest_p"] for row in mmd)
    return f"at the smallest p that the permutations allow in {reached} of {len(mmd)} draws"


def displaced(rows: list[OutcomeRow], test: str, note: str) -> Decided:
    """Decide whether a test distinguishes P from M, over draws of P that share M.

    Each draw's p-value counts P and M as samples. Twice the median over draws is a valid p-value under any dependence
    (Rüger 1978; DiCiccio, DiCiccio and Romano 2020). That the two are not displaced is said where a domain
    classifier's AUC is below ``INDISTINCT`` by the same rule over its intervals: failing to reject proves nothing.
    """
    found = select(rows, "P-M", test)
    if len(found) < MIN_RUNS:
        return Decided(OPEN, f"{note}; {len(found)} draws, {MIN_RUNS} are needed.")
    p = min(1.0, 2.0 * float(np.median([row["p"] for row in found])))
    smallest = max(row["smallest_p"] for row in found)
    auc = select(rows, "P-M", "C2ST (split)")
    same = min(1.0, 2.0 * float(np.median([_auc_tail(row) for row in auc]))) if auc else 1.0
    if 2.0 * smallest > ALPHA:
        needed = f"the fewest permutations that can are {int(np.ceil(2.0 / ALPHA)) - 1}"
        return Decided(OPEN, f"{note}; {len(found)} draws, too few permutations to reject at 5 %: {needed}.")
    outcome: Outcome = HOLDS if p <= ALPHA else FAILS if same <= ALPHA else OPEN
    return Decided(
        outcome,
        f"{note}; twice the median p over {len(found)} draws of P against the same M: {p:.2g} that they are equal, "
        f"{same:.2g} that a domain classifier's AUC reaches {INDISTINCT:g}.",
        p,
        same,
    )


def _auc_tail(row: OutcomeRow) -> float:
    """P-value of "the AUC is at least ``INDISTINCT``" by the normal error behind its 95 % interval."""
    error = (row["auc_high"] - row["auc_low"]) / (2 * stats.norm.ppf(0.975))
    return float(stats.norm.cdf((row["auc"] - INDISTINCT) / error)) if error > 0 else 1.0


def false_rejections(rows: list[CalibrationRow]) -> Decided:
    """Decide whether every test keeps its level, by the exact bound over its null draws."""
    kinds = list(dict.fromkeys(row["test"] for row in rows))
    draws = {kind: [row["p"] <= ALPHA for row in rows if row["test"] == kind] for kind in kinds}
    few = min((len(hits) for hits in draws.values()), default=0)
    if few < NULL_DRAWS:
        return Decided(OPEN, f"{few} null draws of each test; {NULL_DRAWS} are needed.")
    members = {
        kind: share_below(hits, FALSE_LIMIT, what="false rejections", unit="null draws") for kind, hits in draws.items()
    }
    return all_hold(members, "tests")


def cues(rows: list[OutcomeRow]) -> Decided:
    """Decide whether surface cues do as well as the embedding, corrected for the M that the draws share."""
    auc = {
        kind: np.array([row["auc"] for row in select(rows, "P-M", "C2ST (split)", kind)])
        for kind in ("cues", "embedding")
    }
    draws = min(map(len, auc.values()))
    if draws < MIN_RUNS:
        return Decided(OPEN, f"{draws} draws; {MIN_RUNS} are needed.")
    # half of each side is held out, so a split's test rows are as many as its training rows
    gap = corrected_difference(auc["cues"] - auc["embedding"], overlap=1.0)
    note = f"AUC {auc['cues'].mean():.3f} against {auc['embedding'].mean():.3f}; AUC of cues minus AUC of embedding"
    return above_by_interval(
        (gap.mean, gap.low, gap.high),
        -AUC_MARGIN,
        margin=1e-9,  # "at least as well" is itself a margin below 0
        n=gap.redraws,
        what=note,
        unit="draws of P, corrected for the M that they share",
        p=gap.tail(-AUC_MARGIN),
        p_against=1.0 - gap.tail(-AUC_MARGIN),
    )


def _probes(name: str, rows: list[ProbeScore]) -> list[Claim]:
    p_size = max(row.size for row in rows if row.train == "P")
    m_size = max(row.size for row in rows if row.train == "M")
    probe = f"a probe on {p_size} rows of P"
    present = {row.train for row in rows}
    found = [
        (
            f"a probe on {m_size} rows of M beats {probe}",
            ("M", m_size),
            1,
            "M-probe of about 250 rows beats P-probe of 2,400",
            Standing("derived", band="ours"),
        )
    ]
    for rival, text, target in RIVAL_CLAIMS:
        if rival in present:
            found.append((text.format(probe=probe), (rival, 0), -1, target, Standing("published", band="ours")))
    return [
        Claim("S3", f"{name}: {claim}, on held-out M", probe_gap(rows, rival, p_size, sign), FIELDS, target, standing)
        for claim, rival, sign, target, standing in found
    ]


def probe_gap(rows: list[ProbeScore], first: tuple[str, int], p_size: int, sign: int) -> Decided:
    """Judge by how much the first minus the P-probe is above 0 (sign 1) or below it (sign -1)."""
    if len({row.redraw for row in rows}) < 2:
        return Decided(OPEN, f"one redraw only; {MIN_RUNS} are needed.")
    gap = paired_difference([asdict(row) for row in rows], first, ("P", p_size), score="balanced_accuracy")
    rule = above_by_interval if sign > 0 else below_by_interval
    rises, falls = gap.tail(POINT), 1.0 - gap.tail(-POINT)
    opposite = (1.0 - gap.tail(-POINT), gap.tail(POINT))
    return rule(
        (gap.mean, gap.low, gap.high),
        0.0,
        margin=POINT,
        n=gap.redraws,
        what=f"balanced accuracy of {first[0].replace('_', ' ')} minus that of the P-probe",
        unit="redraws, corrected for the rows that they share",
        p=rises if sign > 0 else falls,
        p_against=opposite[0] if sign > 0 else opposite[1],
    )


def _judged(rows: list[RejectionRate]) -> list[tuple[RejectionRate, float, str]]:
    """Rows of MMD at the sizes that have a target."""
    return [
        (row, bound, target) for size, bound, target in POWER for row in rows if (row.test, row.size) == ("MMD²", size)
    ]


def _power(name: str, row: RejectionRate, bound: float, target: str) -> Claim:
    hits = [True] * row.rejections + [False] * (row.repeats - row.rejections)
    return Claim(
        "S5",
        f"{name}: MMD has power above {bound:g} at {row.size} rows a side",
        share_above(hits, bound, what="rejections", unit="pairs of draws"),
        FIELDS,
        target,
        Standing("derived", band="ours"),
    )
