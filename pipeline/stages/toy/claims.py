"""Claims about the toy model (arXiv:2211.06506), each decided by the settings that bear on it."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy import stats

from analysis.pages.blocks import Text
from analysis.spectra.marchenko_pastur import MarchenkoPastur
from analysis.spectra.weights import ks_to_law
from analysis.verdicts import (
    ALPHA,
    FAILS,
    HOLDS,
    MIN_RUNS,
    OPEN,
    Claim,
    Decided,
    Standing,
    above,
    all_hold,
    below,
    format_estimate,
    share_above,
    student_mean_interval,
)
from analysis.verdicts.rules import Outcome
from pipeline.stages.toy.read import Quantity, ToyMember, ToyRow

MIN_SAMPLES = 500
"""Smallest n at which a size effect is not mistaken for a finding."""
SAME_NORM = 0.1
"""Relative difference of two norms that counts as none."""
DIFFERENCE = 0.01
"""Difference in test error, KTA or kernel movement that counts; those of the three classes are above 0.05."""
NAMED = 3
"""Settings that a claim names at most; figures and tables of its page show all."""
FIELDS = ("toy", "seeds")


def toy_claims(read: Sequence[ToyMember]) -> list[Claim | Text]:
    """Decide every claim for which there is a setting; the others are left out."""
    found = [_start(read), _small_rates(read), _sizes(read), _spike(read), _adam(read), *_paired(read)]
    return [claim for claim in found if claim is not None]


def by_seeds(members: Sequence[ToyMember], holds: Callable[[ToyMember, ToyRow, ToyRow], bool]) -> Decided:
    """Decide from the share of seeds that meet a condition in every setting, by its exact bound.

    Settings that share a seed share its data and its start, so the seed is the independent unit.
    """
    met: dict[int, bool] = {}
    for member in members:
        for first, last in zip(member.at(0), member.final, strict=True):
            here = last.status == "ok" and holds(member, first, last)
            met[first.seed] = met.get(first.seed, True) and here
    names = [f"{m.label}, n = {m.config.samples:,}" for m in members]
    named = "; ".join(names if len(names) <= NAMED else [*names[: NAMED - 1], f"and {len(names) - NAMED + 1} more"])
    what = f"seeds that meet it in every setting ({named})"
    if min(m.config.samples for m in members) < MIN_SAMPLES:
        return Decided(OPEN, f"{what}: {sum(met.values())} of {len(met)}; {MIN_SAMPLES} samples are needed.")
    return share_above(list(met.values()), 0.5, what=what)


def _start(read: Sequence[ToyMember]) -> Claim | None:
    def holds(member: ToyMember, first: ToyRow, last: ToyRow) -> bool:
        width, features = member.config.shape
        spectrum = member.spectra["weight"][member.config.seeds.index(first.seed), 0]
        law = MarchenkoPastur(min(width, features) / max(width, features))
        return ks_to_law(spectrum, law.cdf) <= 6 / features and first.outliers == 0

    whole = [m for m in read if m.config.shape[0] >= m.config.shape[1] and m.final[0].status == "ok"]
    if not whole:
        return None
    return _claim("T1", "untrained weights follow Marchenko-Pastur", by_seeds(whole, holds), "KS ≤ 6/d, no outlier")


def _small_rates(read: Sequence[ToyMember]) -> Claim | None:
    small = [m for m in read if not m.config.own_step and float(np.mean(m.metrics["rate_multiple"])) <= 0.5 + 1e-6]
    if not small:
        return None

    def holds(member: ToyMember, first: ToyRow, last: ToyRow) -> bool:
        distances = [last.ks_start, last.ck_ks_start]
        if member.config.trained == "first":
            distances.append(last.ntk_ks_start)
        return max(distances) <= 0.01 and last.outliers == 0

    decided = by_seeds(small, holds)
    both = [value for m in small if m.config.trained == "both" for value in m.values("ntk_ks_start")]
    if both:
        growth = np.mean([value for m in small if m.config.trained == "both" for value in m.values("readout_growth")])
        note = (
            f" The tangent kernel is judged where the readout is fixed, as in the theorem; with a trained readout its "
            f"KS₀ is {np.mean(both):.3f} because ‖v‖² changes by a factor {growth:.3f}."
        )
        decided = dataclasses.replace(decided, evidence=decided.evidence + note)
    judged = "W, CK and NTK" if any(m.config.trained == "first" for m in small) else "W and CK"
    return _claim(
        "T2",
        f"gradient descent at small rates leaves the bulks of {judged} unchanged",
        decided,
        "KS₀ ≤ 0.01, no outlier at ≤ 0.5 η_c",
    )


def _sizes(read: Sequence[ToyMember]) -> Claim | None:
    groups: dict[str, list[ToyMember]] = {}
    for member in read:
        if not member.config.own_step and float(np.mean(member.metrics["rate_multiple"])) <= 1.0 + 1e-6:
            groups.setdefault(member.label, []).append(member)
    group = max(groups.values(), key=len, default=[])
    sizes = sorted({m.config.samples for m in group})
    if len(sizes) < 3:
        return None
    norms: tuple[Quantity, ...] = ("change_operator", "change_frobenius")
    members = {}
    for name in norms:
        values = {n: [v for m in group if m.config.samples == n for v in m.values(name)] for n in sizes}
        for small, large in itertools.combinations(sizes, 2):
            label = f"{name.removeprefix('change_')} norm at n = {large} over that at n = {small}"
            members[label] = ratio_within(values[large], values[small], SAME_NORM, what=label)
    decided = all_hold(members, "pairs of sizes and norms")
    if sizes[0] < MIN_SAMPLES or sizes[-1] < 4 * sizes[0]:
        decided = Decided(
            OPEN, f"n = {', '.join(map(str, sizes))}: sizes from {MIN_SAMPLES} up over a factor 4 are needed."
        )
    return _claim(
        "T3", "the weight change is of order one in operator and Frobenius norm", decided, f"within {SAME_NORM:.0%}"
    )


def ratio_within(first: Sequence[float], second: Sequence[float], share: float, *, what: str) -> Decided:
    """Claim: the means of two independent groups of seeds differ by less than a share, as an equivalence.

    Two one-sided tests of the difference of logarithms against ±log(1 + share), with Welch's standard error and degrees
    of freedom.
    """
    groups = [np.log(np.asarray(group, dtype=np.float64)) for group in (first, second)]
    n = min(map(len, groups))
    if n < MIN_RUNS:
        return Decided(OPEN, f"{what}: n = {n} seeds; {MIN_RUNS} are needed.")
    parts = [group.var(ddof=1) / group.size for group in groups]
    error = math.sqrt(sum(parts))
    gap, bound = float(groups[0].mean() - groups[1].mean()), math.log1p(share)
    if error == 0.0:
        return Decided(OPEN, f"{what}: {math.exp(gap):.4g} in all seeds; equal values give no interval.")
    df = sum(parts) ** 2 / sum(part**2 / (group.size - 1) for part, group in zip(parts, groups, strict=True))
    p = max(float(stats.t.sf((bound - abs(gap)) / error, df)), float(stats.t.sf((bound + abs(gap)) / error, df)))
    against = min(1.0, 2.0 * float(stats.t.sf((abs(gap) - bound) / error, df)))
    low, high = (math.exp(gap + side * float(stats.t.ppf(0.975, df)) * error) for side in (-1, 1))
    outcome: Outcome = HOLDS if p <= ALPHA else FAILS if against <= ALPHA else OPEN
    evidence = f"ratio {format_estimate(math.exp(gap), low, high)}, 95 % interval (Welch) over {n} seeds a size"
    return Decided(outcome, f"{what}: {evidence}; claimed within {share:.0%}.", p, against)


def _spike(read: Sequence[ToyMember]) -> Claim | None:
    large = [
        m
        for m in read
        if m.config.optimizer == "sgd" and 2.0 <= round(float(np.mean(m.metrics["rate_multiple"])), 3) <= 2.3
    ]
    if not large:
        return None
    decided = by_seeds(
        large,
        lambda m, first, last: (
            1 <= last.outliers <= 5 and last.ks_start < 0.03 and last.alignment >= 0.5 and last.kta >= 2 * first.kta
        ),
    )
    return _claim(
        "T4",
        "large rates push out an outlier whose vector aligns with the teacher",
        decided,
        "1 to 5 outliers, KS₀ < 0.03, alignment ≥ 0.5, KTA ≥ 2 × start at 2 to 2.3 η_c",
    )


def _is_adam(member: ToyMember) -> bool:
    c = member.config
    return c.optimizer == "adam" and c.rate == 0.1 and c.batch == c.samples and c.trained == "both"


def _adam(read: Sequence[ToyMember]) -> Claim | None:
    adam = [m for m in read if _is_adam(m) and m.config.samples >= 1000] or [m for m in read if _is_adam(m)]
    if not adam:
        return None
    decided = by_seeds(
        adam,
        lambda m, first, last: (
            last.ks_start >= 0.04 and last.outliers >= 10 and last.kta >= 5 * first.kta and last.ck_alignment >= 0.85
        ),
    )
    return _claim(
        "T5",
        "Adam deforms the bulk and learns features",
        decided,
        "KS₀ ≥ 0.04, ≥ 10 outliers, KTA ≥ 5 × start, CK alignment ≥ 0.85 at rate 0.1",
    )


def _claim(name: str, statement: str, decided: Decided, published: str) -> Claim:
    return Claim(name, statement, decided, FIELDS, published, Standing("derived", band="ours"))


def _paired(read: Sequence[ToyMember]) -> list[Claim | Text]:
    """T6: paired differences over seeds between an invariant setting, a spike and Adam of one size."""
    out: list[Claim | Text] = []
    for size in sorted({m.config.samples for m in read}):
        same = [
            m for m in read if m.config.samples == size and m.config.trained == "both" and not m.config.center_output
        ]
        calm = _pick(same, lambda m: not m.config.own_step and np.mean(m.metrics["rate_multiple"]) <= 0.5 + 1e-6)
        spike = _pick(
            same, lambda m: m.config.optimizer == "sgd" and 2.0 <= round(np.mean(m.metrics["rate_multiple"]), 3) <= 2.3
        )
        adam = _pick(same, _is_adam)
        pairs = [(name, m) for name, m in (("a spike", spike), ("Adam", adam)) if m is not None]
        if calm is None or not pairs:
            continue
        out += [_difference(calm, member, name, size) for name, member in pairs]
        if spike is not None and adam is not None:
            gaps = _gaps(spike, adam, "test_error")
            mean, _, low, high = student_mean_interval(gaps)
            out.append(
                Text(
                    f"Adam against a spike at n = {size} (no sign expected): test error "
                    f"{format_estimate(mean, low, high, signed=True)}, {len(gaps)} paired seeds, Student's t."
                )
            )
    return out


def _pick(members: Sequence[ToyMember], wanted: Callable[[ToyMember], Any]) -> ToyMember | None:
    return next((m for m in members if wanted(m)), None)


def _gaps(base: ToyMember, other: ToyMember, name: Quantity) -> list[float]:
    """Paired differences over seeds where neither diverged."""
    values = {row.seed: float(getattr(row, name)) for row in base.final if row.status == "ok"}
    return [
        float(getattr(row, name)) - values[row.seed] for row in other.final if row.status == "ok" and row.seed in values
    ]


def beats(errors: Sequence[float], kta: Sequence[float], moved: Sequence[float], what: str) -> Decided:
    """Decide from paired differences over seeds: the test error falls, and KTA and kernel movement rise."""
    unit = "paired seeds"
    members = {
        "test error": below(errors, 0.0, margin=DIFFERENCE, what=f"test error, {what}", unit=unit),
        "KTA": above(kta, 0.0, margin=DIFFERENCE, what=f"KTA, {what}", unit=unit),
        "CK movement": above(moved, 0.0, margin=DIFFERENCE, what=f"CK movement, {what}", unit=unit),
    }
    return all_hold(members, "of test error, KTA and CK movement")


def _difference(calm: ToyMember, member: ToyMember, name: str, size: int) -> Claim:
    """Whether a spectral class goes with a lower test error, higher alignment and more kernel movement."""
    measured: tuple[Quantity, ...] = ("test_error", "kta", "ck_movement")
    errors, kta, moved = (_gaps(calm, member, quantity) for quantity in measured)
    decided = beats(errors, kta, moved, f"{member.label} minus {calm.label}")
    if size < MIN_SAMPLES:
        decided = Decided(OPEN, f"{decided.evidence} {MIN_SAMPLES} samples are needed.")
    return _claim(
        f"T6, {name}",
        f"{name} beats the invariant bulk in test error, with higher KTA and more kernel movement (n = {size})",
        decided,
        f"paired differences beyond {DIFFERENCE:g}",
    )
