"""The choice by level is judged against the same guard, the best validation accuracy and the run nearest the mean."""

import numpy as np
import pytest

from analysis.variability.selection import (
    COMPARED,
    accuracy_guard,
    claim_b3,
    ensemble_distance,
    rival_gains,
    selection_gains,
)
from analysis.verdicts import FAILS, HOLDS, OPEN


def gains_of(nll, ece, accuracy):
    return {name: {"nll": nll, "ece": ece, "accuracy": accuracy} for name in COMPARED}


def test_b3_asks_for_a_gain_over_every_other_choice_without_loss_of_accuracy():
    rng = np.random.default_rng(9)
    nll, ece = rng.normal(0.02, 0.01, size=20), rng.normal(0, 0.01, size=20)
    even = rng.normal(0, 0.002, size=20)
    gains = gains_of(nll, ece, even)
    assert claim_b3(gains).decided.outcome == HOLDS
    assert claim_b3(gains_of(nll, ece, even - 0.05)).decided.outcome == FAILS, "accuracy is lost"
    for name in COMPARED:
        weaker = gains | {name: gains[name] | {"nll": nll - 0.02}}
        assert claim_b3(weaker).decided.outcome == OPEN, f"no gain over {name}"
    assert claim_b3(gains_of(-nll, ece - 0.02, even)).decided.outcome == FAILS
    few = claim_b3({name: {metric: values[:8] for metric, values in one.items()} for name, one in gains.items()})
    assert few.decided.outcome == OPEN
    assert "20 are needed" in few.decided.evidence


def test_a_level_that_chooses_no_run_decides_nothing():
    nothing, worse = np.zeros(20), np.random.default_rng(1).normal(-0.02, 0.001, 20)
    assert claim_b3(gains_of(nothing, nothing, nothing)).decided.outcome == OPEN
    tied = gains_of(worse, worse, worse) | {"guarded": dict.fromkeys(("nll", "ece", "accuracy"), nothing)}
    found = claim_b3(tied).decided
    assert found.outcome == OPEN
    assert "In 20 of 20 groups the level chooses none" in found.evidence


def test_levels_are_compared_among_the_runs_of_the_same_guard():
    """Run 3 has the lowest level but fails the guard; the mean of the others does not contain it either."""
    levels = np.array([0.2, 0.1, 0.3, 0.0])
    accuracy = np.array([0.9, 0.9, 0.9, 0.5])
    nll = np.array([0.3, 0.2, 0.4, 9.0])
    gains = selection_gains(levels, accuracy, -levels, {"nll": nll}, np.arange(4)[None], guard=0.1)
    assert gains["guarded"]["nll"] == pytest.approx([0.1])
    assert gains["best accuracy"]["nll"] == pytest.approx([0.1]), "three runs tie for it"
    assert gains["nearest ensemble"]["nll"] == pytest.approx([0.2])
    with pytest.raises(ValueError, match="groups must be disjoint"):
        selection_gains(levels, accuracy, levels, {"nll": nll}, np.zeros((2, 2), dtype=int), guard=0.1)


def test_the_rival_is_the_run_nearest_the_ensemble_and_is_judged_by_the_same_rule():
    rng = np.random.default_rng(5)
    own = rng.normal(size=200)  # cross-entropy that the distance tells and the level does not
    levels, distance = rng.normal(size=200), own + 0.1 * rng.normal(size=200)
    judged = {"nll": 0.35 + 0.02 * own, "ece": rng.normal(0.03, 0.001, 200), "accuracy": rng.normal(0.9, 1e-3, 200)}
    groups = rng.permutation(200).reshape(20, 10)
    gains = rival_gains(levels, np.full(200, 0.9), distance, judged, groups, guard=0.1)
    for place, members in enumerate(groups):
        nearest, lowest = (members[values[members].argmin()] for values in (distance, levels))
        apart = judged["nll"][lowest] - judged["nll"][nearest]
        assert gains["lowest level"]["nll"][place] == pytest.approx(apart)
    found = claim_b3(gains, claim="B3-rival")
    assert found.claim == "B3-rival" and found.decided.outcome == HOLDS
    assert "nll_gain_over_lowest_level" in found.details
    level = selection_gains(levels, np.full(200, 0.9), distance, judged, groups, guard=0.1)
    assert claim_b3(level).decided.outcome != HOLDS


def test_ties_are_decided_at_random():
    same = np.zeros(4)
    gains = selection_gains(same, same, same, {"accuracy": np.arange(4.0)}, np.arange(4)[None], guard=0.0)
    assert all(one["accuracy"] == pytest.approx([0.0]) for one in gains.values())


def test_the_guard_is_as_wide_as_the_validation_set_is_small():
    assert accuracy_guard(400) == pytest.approx(np.sqrt(np.log(200) / 800))


def test_the_distance_to_the_ensemble_ignores_constants_of_the_logits():
    logits = np.random.default_rng(0).normal(size=(5, 30, 3))
    moved = logits + np.random.default_rng(1).normal(size=(5, 30, 1))
    np.testing.assert_allclose(ensemble_distance(logits), ensemble_distance(moved))


@pytest.mark.parametrize(
    ("levels", "groups", "message"),
    [
        (np.full(4, np.nan), np.arange(4)[None], "levels has 4 of 4 values that are NaN"),
        (np.zeros(4), np.array([[2, 9]]), "groups go from 2 to 9"),
    ],
)
def test_runs_that_cannot_be_chosen_among_are_refused(levels, groups, message):
    with pytest.raises(ValueError, match=message):
        selection_gains(levels, np.zeros(4), np.zeros(4), {"nll": np.zeros(4)}, groups, guard=0.1)
    with pytest.raises(ValueError, match="one run, which is the ensemble itself"):
        ensemble_distance(np.zeros((1, 5)))
    with pytest.raises(ValueError, match="outputs has 10 of 10"):
        ensemble_distance(np.full((2, 5), np.nan))
