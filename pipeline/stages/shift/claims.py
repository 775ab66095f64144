"""Decide the targets S1 to S5 of a shift study for one cell."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
from scipy import stats

from analysis.shift.permutation import holm
from analysis.shift.power import RejectionRate
from analysis.shift.probes import ProbeScore, paired_difference
from analysis.verdicts.superseded import NOT_REPRODUCED, REPRODUCED, UNDECIDED, at_least
from pipeline.engine.artifacts import Artifact
from pipeline.reporting.blocks import Verdict
from pipeline.stages.shift.read import OutcomeRow, read_first_draw, read_power, read_probes

ALPHA = 0.05
POWER = ((20, 0.7, "MMD ≥ 0.7 at 20 rows a side"), (40, 0.9, "about 1 at 40 rows a side, read as 0.9"))
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


def verdicts(name: str, rows: list[OutcomeRow], artifact: Artifact) -> list[Verdict]:
    """Give the verdicts of one cell.

    Parameters
    ----------
    name : str
        Label of the cell.
    rows : list of OutcomeRow
        Table of its tests.
    artifact : Artifact
        Of stage ``shift``; power and probes are judged where they were computed.
    """
    found = [_displaced(name, rows, artifact), _tests(name, rows), _false(name, rows), *_cues(name, rows)]
    if probes := read_probes(artifact):
        found += _probes(name, probes)
    return found + _power(name, read_power(artifact))


def _displaced(name: str, rows: list[OutcomeRow], artifact: Artifact) -> Verdict:
    first = read_first_draw(artifact)
    leading = min(5, first.reference.shape[1])
    p = holm(np.array([stats.ks_2samp(first.reference[:, i], first.sample[:, i]).pvalue for i in range(leading)]))
    distance = artifact.metrics["ks"]["distance"][:leading]
    tests = select(rows, "P-M", "pooled-PCA KS")
    hits = sum(row["p"] <= ALPHA for row in tests)
    decided = UNDECIDED
    if len(tests) > 1:
        decided = REPRODUCED if hits == len(tests) else NOT_REPRODUCED if hits == 0 else UNDECIDED
    return Verdict(
        f"{name}: S1: M is displaced from P on the pooled principal components",
        decided,
        f"KS distance of components 1 to {leading} in the first draw: "
        + ", ".join(f"{value:.2f}" for value in distance)
        + f" (smallest Holm p {p.min():.2g}); the test over all components rejects in {hits} of {len(tests)} draws.",
        "M visibly displaced",
        "published (no digits)",
    )


def _tests(name: str, rows: list[OutcomeRow]) -> Verdict:
    mmd = select(rows, "P-M", "MMD²")
    smallest = mmd[0]["smallest_p"]
    floor = sum(row["p"] <= smallest for row in mmd)
    reject = sum(row["p"] <= ALPHA for row in mmd)
    decided = UNDECIDED
    if smallest <= ALPHA and len(mmd) > 1:
        decided = REPRODUCED if floor == len(mmd) else NOT_REPRODUCED if reject == 0 else UNDECIDED
    return Verdict(
        f"{name}: S2: MMD between P and M has the smallest p that its permutations allow",
        decided,
        f"at the floor of {smallest:.3g} in {floor} and below 5 % in {reject} of {len(mmd)} draws.",
        "P-M at the floor for MMD",
        "derived",
    )


def _false(name: str, rows: list[OutcomeRow]) -> Verdict:
    null = [row for row in rows if row["pair"] == "P-P'" and row["representation"] == "embedding" and not row["class"]]
    kinds = list(dict.fromkeys(row["test"] for row in null))
    hits = {kind: sum(row["p"] <= ALPHA for row in null if row["test"] == kind) for kind in kinds}
    draws = {kind: sum(row["test"] == kind for row in null) for kind in kinds}
    # each test against the 99 % binomial bound of its own draws
    over = [kind for kind in kinds if hits[kind] > stats.binom.ppf(0.99, draws[kind], ALPHA)]
    decided = UNDECIDED if max(draws.values(), default=0) < 2 else NOT_REPRODUCED if over else REPRODUCED
    return Verdict(
        f"{name}: S2: two draws of P are distinguished no more often than the level says",
        decided,
        "false rejections at 5 %: " + ", ".join(f"{kind} {hits[kind]} of {draws[kind]}" for kind in kinds) + ".",
        "P-P' at the nominal level",
        "derived; 99 % binomial bound",
    )


def _cues(name: str, rows: list[OutcomeRow]) -> list[Verdict]:
    auc = {
        kind: np.array([row["auc"] for row in select(rows, "P-M", "C2ST (split)", kind)])
        for kind in ("cues", "embedding")
    }
    decided = at_least(list(auc["cues"] - auc["embedding"]), 0.0, "AUC of the cues minus AUC of the embedding, by draw")
    return [
        Verdict(
            f"{name}: S4: surface cues distinguish P from M as well as the embedding does",
            decided.verdict,
            f"AUC {auc['cues'].mean():.3f} against {auc['embedding'].mean():.3f}. {decided.evidence} Draws share M.",
            "both reported; cues may win",
            "derived",
        )
    ]


def _probes(name: str, rows: list[ProbeScore]) -> list[Verdict]:
    p_size = max(row.size for row in rows if row.train == "P")
    m_size = max(row.size for row in rows if row.train == "M")
    probe = f"a probe on {p_size} rows of P"
    present = {row.train for row in rows}
    claims = [
        (
            f"a probe on {m_size} rows of M beats {probe}",
            ("M", m_size),
            1.0,
            "M-probe of about 250 rows beats P-probe of 2,400",
            "derived",
        )
    ]
    for rival, text, target in RIVAL_CLAIMS:
        if rival in present:
            claims.append((text.format(probe=probe), (rival, 0), -1.0, target, "published, qualitative"))
    return [
        _paired(f"{name}: S3: {claim}, on held-out M", rows, rival, p_size, sign, target, standing)
        for claim, rival, sign, target, standing in claims
    ]


def _paired(
    claim: str, rows: list[ProbeScore], first: tuple[str, int], p_size: int, sign: float, target: str, standing: str
) -> Verdict:
    """Judge (first - P-probe)·sign > 0 by its corrected paired interval; inside it nothing is claimed."""
    if len({row.redraw for row in rows}) < 2:
        return Verdict(claim, UNDECIDED, "one redraw only.", target, standing)
    gap = paired_difference([asdict(row) for row in rows], first, ("P", p_size), score="balanced_accuracy")
    decided = UNDECIDED if not gap.wins else REPRODUCED if sign * gap.mean > 0 else NOT_REPRODUCED
    evidence = (
        f"balanced accuracy of {first[0].replace('_', ' ')} minus that of the P-probe {100 * gap.mean:.1f} points, "
        f"corrected 95 % interval [{100 * gap.low:.1f}, {100 * gap.high:.1f}], {gap.redraws} paired redraws."
    )
    return Verdict(claim, decided, evidence, target, standing)


def _power(name: str, rows: list[RejectionRate]) -> list[Verdict]:
    found = []
    for size, bound, target in POWER:
        for row in rows:
            if (row.test, row.size) != ("MMD²", size):
                continue
            decided = REPRODUCED if row.low >= bound else NOT_REPRODUCED if row.high < bound else UNDECIDED
            evidence = (
                f"power {row.rate:.2f}, exact 95 % interval [{row.low:.2f}, {row.high:.2f}], {row.repeats} draws."
            )
            claim = f"{name}: S5: MMD has power of at least {bound:g} at {size} rows a side"
            found.append(Verdict(claim, decided, evidence, target, "derived"))
    return found
