"""The level says more than its companions, or it does not, with look-alikes counted against noise."""

import numpy as np
import pytest

from analysis.variability.information import claim_b2, look_alikes, split_half_noise
from analysis.verdicts.superseded import REPRODUCED, UNDECIDED


def rng(seed=0):
    return np.random.default_rng(seed)


def b2_case(count, own):
    generator = rng(5)
    levels, halves, companions = [], [], []
    for _ in range(3):
        companion = generator.normal(size=(count, 3))
        level = companion @ np.array([1.0, 0.5, 0.2]) + own * generator.normal(size=count)
        levels.append(level)
        halves.append(level + 0.3 * generator.normal(size=(2, count)))
        companions.append(companion)
    return levels, halves, companions


def test_b2_needs_more_than_the_companions_say():
    assert claim_b2(*b2_case(120, 1.0), rng=rng()).verdict == REPRODUCED
    assert claim_b2(*b2_case(120, 0.05), rng=rng()).verdict != REPRODUCED
    assert claim_b2(*b2_case(30, 1.0), rng=rng()).verdict == UNDECIDED
    assert np.isnan(claim_b2(*b2_case(5, 1.0), rng=rng()).effect)
    same = rng(6).normal(size=200)
    assert split_half_noise(same, same) == pytest.approx(0)
    assert split_half_noise(same, rng(7).normal(size=200)) > 0.7


def test_look_alikes_are_counted_against_noise():
    generator = rng(8)
    levels = np.r_[np.zeros(5), np.ones(5)]
    draws = levels + 0.05 * generator.normal(size=(200, 10))
    found, expected = look_alikes(levels, draws, np.zeros((10, 3)), np.full(3, 0.1))
    assert found == 25
    assert expected < 4
    assert look_alikes(levels, draws, np.arange(30.0).reshape(10, 3), np.full(3, 0.1)) == (0, 0.0)
