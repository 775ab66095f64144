"""Every claim can end in each of its verdicts, and stays undecided with too few runs."""

import numpy as np
import pytest

from analysis.variability.claims import (
    claim_a1,
    claim_a2,
    claim_b1,
    claim_b3,
    claim_b4,
    typical_accuracy,
)
from analysis.variability.seed_count import EnsembleCurve, fit_plateau
from analysis.verdicts.superseded import NOT_REPRODUCED, REPRODUCED, UNDECIDED


def rng(seed=0):
    return np.random.default_rng(seed)


def a1_case(count, spread):
    generator = rng(1)
    levels = np.abs(generator.normal(0.2, spread, size=count))
    shared = generator.normal(0, 0.05, size=(100, 1))
    draws = levels + shared + generator.normal(0, 0.01, size=(100, count))
    noisy = levels + generator.normal(0, 0.01, size=count)
    return noisy, draws, generator.normal(0.9, 0.001, size=count), np.zeros(100)


def test_a1_separates_runs_from_test_set_noise():
    levels, draws, accuracy, null = a1_case(60, 0.08)
    found = claim_a1(levels, draws, accuracy, null, examples=1000, rng=rng())
    assert found.verdict == REPRODUCED
    assert found.effect == pytest.approx(0.08**2, rel=0.5)
    assert (
        claim_a1(*[x[..., :20] for x in (levels, draws, accuracy)], null, examples=1000, rng=rng()).verdict == UNDECIDED
    )
    levels, draws, accuracy, _ = a1_case(60, 0.0)
    assert claim_a1(levels, draws, accuracy, null, examples=1000, rng=rng()).verdict != REPRODUCED
    assert claim_a1(np.zeros(60), draws, accuracy, np.ones(50), examples=1000, rng=rng()).verdict == NOT_REPRODUCED
    assert claim_a1(levels[:2], draws[:, :2], accuracy[:2], null, examples=1000, rng=rng()).n == 2
    assert typical_accuracy(np.array([0.9, 0.9, 0.5]), 100).tolist() == [False, False, False]


def test_a2_holds_on_identities_and_fails_on_a_broken_one():
    base = rng(2).random(60)
    levels = {"gap": base, "prob": base, "signed_gap": base**2, "loss": base**2}
    assert claim_a2(levels, rng=rng()).verdict == REPRODUCED
    assert claim_a2({k: v[:20] for k, v in levels.items()}, rng=rng()).verdict == UNDECIDED
    assert claim_a2(levels | {"prob": base + 0.01}, rng=rng()).verdict == NOT_REPRODUCED
    with pytest.raises(ValueError, match=r"missing: \['loss'\]"):
        claim_a2({"gap": base, "prob": base, "signed_gap": base}, rng=rng())


def curve_of(plateau, level):
    sizes = np.array([2, 4, 8, 16, 32, 64, 100])
    ks = plateau + 0.3 / np.sqrt(sizes)[:, None] * rng(3).normal(1, 0.1, size=(7, 20))
    levels = np.maximum(0, level + 0.3 / sizes[:, None] + 0.002 * rng(4).normal(size=(7, 20)))
    return EnsembleCurve(sizes, ks, levels, 0.05, "mixture")


def test_b1_names_the_number_of_runs_or_finds_a_plateau():
    plateau, c, p = fit_plateau(np.array([2, 4, 8, 16, 32, 64]), 0.04 + 0.3 * np.array([2, 4, 8, 16, 32, 64]) ** -0.5)
    assert (plateau, c, p) == pytest.approx((0.04, 0.3, 0.5), abs=1e-3)
    near = claim_b1(curve_of(0.0, 0.0), rng=rng(), reference_runs=100)
    assert near.verdict == REPRODUCED
    assert near.details["named_m"] == 8
    assert claim_b1(curve_of(0.2, 0.4), rng=rng(), reference_runs=100).verdict == NOT_REPRODUCED
    assert claim_b1(curve_of(0.0, 0.0), rng=rng(), reference_runs=50).verdict == UNDECIDED
    curve = curve_of(0.0, 0.0)
    few = EnsembleCurve(curve.sizes, curve.ks[:, :8], curve.level[:, :8], curve.delta, "mixture")
    assert claim_b1(few, rng=rng(), reference_runs=100).verdict == UNDECIDED
    short = EnsembleCurve(np.array([2, 4]), np.full((2, 5), 0.1), np.zeros((2, 5)), 0.05, "mixture")
    assert claim_b1(short, rng=rng(), reference_runs=100).verdict == UNDECIDED


def test_b3_asks_for_a_gain_without_loss_of_accuracy():
    generator = rng(9)
    gains = {"nll": generator.normal(0.05, 0.05, size=24), "ece": generator.normal(0, 0.05, size=24)}
    even = generator.normal(0, 0.01, size=24)
    assert claim_b3(gains, even, rng=rng()).verdict == REPRODUCED
    assert claim_b3(gains, even - 0.05, rng=rng()).verdict == NOT_REPRODUCED
    assert claim_b3({k: v[:8] for k, v in gains.items()}, even[:8], rng=rng()).verdict == UNDECIDED
    assert claim_b3({"ece": gains["ece"]}, even, rng=rng()).verdict == UNDECIDED
    assert claim_b3({k: v[:2] for k, v in gains.items()}, even[:2], rng=rng()).n == 2


def test_b4_compares_arms_and_stand_ins_stay_undecided():
    generator = rng(10)
    scratch = {"level": generator.normal(0.3, 0.05, 50), "churn": generator.normal(0.2, 0.02, (50, 50))}
    tuned = {"level": generator.normal(0.1, 0.05, 50), "churn": generator.normal(0.1, 0.02, (50, 50))}
    assert claim_b4(scratch, tuned, rng=rng(), stand_in=False).verdict == REPRODUCED
    assert claim_b4(tuned, scratch, rng=rng(), stand_in=False).verdict == NOT_REPRODUCED
    stand_in = claim_b4(scratch, tuned, rng=rng(), stand_in=True)
    assert stand_in.verdict == UNDECIDED
    assert "the stand-in by itself: reproduced" in stand_in.test
    few = {"level": scratch["level"][:10], "churn": scratch["churn"][:10, :10]}
    assert claim_b4(few, tuned, rng=rng(), stand_in=False).verdict == UNDECIDED
