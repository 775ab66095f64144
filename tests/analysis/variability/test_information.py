"""The level says more than its companions, or it does not, with look-alikes counted against noise."""

import numpy as np
import pytest

from analysis.variability.information import CompanionRegression, claim_b2, look_alikes, own_information
from analysis.verdicts import FAILS, HOLDS, OPEN


def rng(seed=0):
    return np.random.default_rng(seed)


def b2_case(seed, own, *, runs=200, error=0.4, noise=0.5):
    """Levels are a companion's function plus `own`, all on two halves of the test examples."""
    generator = rng(seed)
    true = generator.normal(size=(runs, 3))
    level = true @ np.array([1.0, 0.5, 0.2]) + own * generator.normal(size=runs)
    companions = true + error * generator.normal(size=(2, runs, 3))
    return level + noise * generator.normal(size=(2, runs)), companions


def test_b2_needs_more_than_the_companions_say():
    assert claim_b2(*b2_case(1, 1.5), rng=rng()).decided.outcome == HOLDS
    assert claim_b2(*b2_case(2, 0.0, error=0.1), rng=rng()).decided.outcome == FAILS
    levels, companions = b2_case(1, 1.5)
    few = claim_b2(levels[:, :30], companions[:, :30], rng=rng())
    assert few.decided.outcome == OPEN
    assert "n = 30 runs" in few.decided.evidence


def test_levels_that_do_not_return_say_nothing_either_way():
    _, companions = b2_case(3, 0.0)
    found = claim_b2(rng(4).normal(size=(2, 200)), companions, rng=rng())
    assert found.decided.outcome == OPEN
    assert "correlate by" in found.decided.evidence
    assert claim_b2(np.zeros((2, 200)), companions, rng=rng()).decided.outcome == OPEN


def test_errors_of_the_companions_are_not_taken_for_information():
    levels, companions = b2_case(5, 0.0, error=1.0)
    found = own_information(levels, companions, rng=rng())
    assert found.shared.mean() > 0.15, "half of the companions' variance is noise, so that something returns"
    assert found.excess.mean() == pytest.approx(0, abs=0.1)


def test_exact_companions_need_no_correction():
    levels, companions = b2_case(6, 0.0, error=0.0)
    found = own_information(levels, companions, rng=rng())
    assert found.null.mean() == pytest.approx(0, abs=0.03)
    assert found.shared.mean() == pytest.approx(0, abs=0.08)


def test_left_out_residuals_are_those_of_explicit_refits():
    inputs, target = rng(7).normal(size=(30, 2)), rng(8).normal(size=(30, 1))
    whole = CompanionRegression(inputs)
    found, best = whole._best(target)
    inverse = whole._inverses[best[0]]
    gram = np.linalg.inv(inverse)
    kept = np.arange(30) != 4
    predicted = gram[4, kept] @ np.linalg.solve(gram[np.ix_(kept, kept)], target[kept, 0])
    assert found[best[0], 4, 0] == pytest.approx(target[4, 0] - predicted, rel=1e-6)


def test_look_alikes_are_counted_against_noise():
    generator = rng(8)
    levels = np.r_[np.zeros(5), np.ones(5)]
    draws = levels + 0.05 * generator.normal(size=(200, 10))
    found, expected = look_alikes(levels, draws, np.zeros((10, 3)), np.full(3, 0.1))
    assert found == 25
    assert expected < 4
    assert look_alikes(levels, draws, np.arange(30.0).reshape(10, 3), np.full(3, 0.1)) == (0, 0.0)
