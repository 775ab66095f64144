"""A1, A2 and B4 can end in each outcome, and stay open where nothing was seen or too few runs were made."""

import numpy as np
import pytest

from analysis.variability.claims import NEED, claim_a1, claim_a2, claim_b4, run_part, typical_accuracy
from analysis.verdicts import FAILS, HOLDS, OPEN


def rng(seed=0):
    return np.random.default_rng(seed)


def a1_case(count, spread, noise=0.01):
    generator = rng(1)
    levels = np.abs(generator.normal(0.2, spread, size=count))
    shared = generator.normal(0, 0.05, size=(100, 1))
    draws = levels + shared + generator.normal(0, noise, size=(100, count))
    noisy = levels + generator.normal(0, noise, size=count)
    return noisy, draws, generator.normal(0.9, 0.001, size=count), np.zeros(400)


def outcome(*case):
    return claim_a1(*case, examples=1000).decided.outcome


def test_a1_separates_runs_from_test_set_noise():
    levels, draws, accuracy, null = a1_case(60, 0.08)
    found = claim_a1(levels, draws, accuracy, null, examples=1000)
    assert found.decided.outcome == HOLDS
    assert found.details["run_part"] == pytest.approx(0.08**2, rel=0.5)
    assert outcome(levels[:20], draws[:, :20], accuracy[:20], null) == OPEN, f"{NEED} candidates are needed"
    assert typical_accuracy(np.array([0.9, 0.9, 0.5]), 100).tolist() == [False, False, False]


def test_a1_fails_only_where_levels_are_seen_and_do_not_differ():
    levels, draws, accuracy, null = a1_case(60, 0.0)
    assert outcome(levels, draws, accuracy, null) == FAILS
    assert outcome(levels, draws, accuracy, np.ones(400)) == OPEN, "noise alone gives such levels"
    overestimated = levels + 5 * (draws - levels)
    assert (run_part(levels, overestimated) < 0).all()
    assert outcome(levels, overestimated, accuracy, null) == OPEN, "a variance below 0 is no evidence"


@pytest.mark.parametrize("count", [50, 200])
def test_levels_of_zero_are_no_evidence_that_functions_agree(count):
    accuracy = 0.42 + rng().normal(0, 0.001, count)
    assert outcome(np.zeros(count), np.zeros((200, count)), accuracy, np.zeros(400)) == OPEN


def test_the_run_part_is_unbiased():
    generator, parts = rng(3), []
    for _ in range(300):
        levels = generator.normal(0, 0.1, 20) + generator.normal(0, 0.2, 20)
        draws = levels + 0.2 * generator.normal(size=(60, 20)) + 3 * generator.normal(size=(60, 1))
        parts.append(run_part(levels, draws).mean())
    assert np.mean(parts) == pytest.approx(0.01, abs=3 * np.std(parts) / np.sqrt(300))


def test_a2_holds_on_identities_and_fails_on_a_broken_one():
    base = rng(2).random(60)
    other = base**2 + 0.1 * rng(3).random(60)
    levels = {"gap": base, "prob": base, "signed_gap": other, "loss": other}
    assert claim_a2(levels).decided.outcome == HOLDS
    assert claim_a2({k: v[:20] for k, v in levels.items()}).decided.outcome == OPEN
    assert claim_a2({k: v[:2] for k, v in levels.items()}).decided.outcome == OPEN
    assert claim_a2(levels | {"prob": base + 0.01}).decided.outcome == FAILS
    silent = dict.fromkeys(levels, np.zeros(60))
    assert claim_a2(silent).decided.outcome == OPEN, "levels that are all 0 rank nothing"
    with pytest.raises(ValueError, match=r"missing: \['loss'\]"):
        claim_a2({"gap": base, "prob": base, "signed_gap": base})


def arm(generator, level, churn, count=50):
    pairs = generator.normal(churn, 0.02, (count, count))
    return {"level": generator.normal(level, 0.05, count), "churn": (pairs + pairs.T) / 2}


def test_b4_compares_arms_beyond_its_margins():
    generator = rng(10)
    scratch, tuned = arm(generator, 0.3, 0.2), arm(generator, 0.1, 0.1)
    assert claim_b4(scratch, tuned).decided.outcome == HOLDS
    assert claim_b4(tuned, scratch).decided.outcome == FAILS
    assert claim_b4(scratch, arm(generator, 0.29, 0.195)).decided.outcome == OPEN, "within the margins"
    few = {"level": scratch["level"][:10], "churn": scratch["churn"][:10, :10]}
    assert claim_b4(few, tuned).decided.outcome == OPEN
    tiny = {"level": scratch["level"][:2], "churn": scratch["churn"][:2, :2]}
    assert "n = 2 runs per arm" in claim_b4(tiny, tuned).decided.evidence
