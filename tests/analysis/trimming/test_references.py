"""Consensus references: each definition, leave-one-out by subtraction, and how bad sets of runs are refused."""

import logging

import numpy as np
import pytest
import torch
from scipy import stats

from analysis.trimming.distributions import ContinuousReference
from analysis.trimming.level import trimming_level
from analysis.trimming.references import (
    REFERENCES,
    consensus_levels,
    consensus_reference,
    disjoint_halves,
    pairwise_levels,
    reference_distance,
)

rng = np.random.default_rng(0)
GAPS = (rng.normal(size=120) + rng.normal(0, 0.7, size=(9, 120)) + rng.normal(0, 0.3, size=(9, 1))).round(2)


def explicit(others, kind):
    return {
        "logit_mean": others.mean(axis=0),
        "mixture": others.ravel(),
        "quantile_mean": np.sort(others, axis=1).mean(axis=0),
    }[kind]


@pytest.mark.parametrize("kind", REFERENCES)
def test_disjoint_and_left_out_levels_equal_the_definitions(kind):
    found = consensus_levels(GAPS[:4], GAPS[4:], deltas=[0.03, 0.08], kinds=[kind])
    assert not found.left_out
    for delta in (0.03, 0.08):
        expected = [trimming_level(row, explicit(GAPS[4:], kind), delta=delta) for row in GAPS[:4]]
        np.testing.assert_allclose(found.level(kind, delta), expected, atol=1e-9)
    # Means of rounded values would tie up to rounding error only, so averages are tested without ties.
    gaps = GAPS if kind == "mixture" else GAPS + rng.uniform(0, 0.01, size=GAPS.shape)
    alone = consensus_levels(gaps, deltas=[0.03], kinds=[kind])
    assert alone.left_out
    expected = [
        trimming_level(row, explicit(np.delete(gaps, i, axis=0), kind), delta=0.03) for i, row in enumerate(gaps)
    ]
    # Averages of rounded values tie up to rounding error: a tie that breaks moves a level by one value's
    # weight.
    np.testing.assert_allclose(alone.level(kind, 0.03), expected, atol=1e-9 if kind == "mixture" else 0.02)
    chunked = consensus_levels(gaps, deltas=[0.03], kinds=[kind], memory=1)
    np.testing.assert_array_equal(chunked.level(kind, 0.03), alone.level(kind, 0.03))


def test_references_coincide_for_one_run_and_differ_for_many():
    one = torch.tensor(GAPS[:1])
    references = [consensus_reference(one, kind) for kind in REFERENCES]
    assert reference_distance(references[0], references[1]) == 0
    assert reference_distance(references[1], references[2]) == 0
    many = [consensus_reference(torch.tensor(GAPS), kind) for kind in REFERENCES]
    assert reference_distance(many[0], many[1]) > 0.02


def test_averaging_logits_removes_seed_noise_that_the_mixture_keeps():
    grid = (np.arange(50_000) + 0.5) / 50_000
    mixture = ContinuousReference(lambda t: torch.special.ndtr(t / 5**0.5))
    for runs, level in ((1, 0.0), (2, 0.10), (5, 0.68)):
        mean = stats.norm.ppf(grid, 0, np.sqrt(1 + 4 / runs))
        assert trimming_level(mean, mixture, delta=0.05) == pytest.approx(level, abs=0.006)


def test_pairwise_levels_hold_every_ordered_pair():
    levels = pairwise_levels(GAPS[:3], delta=0.05)
    assert levels[0, 2] == trimming_level(GAPS[0], GAPS[2], delta=0.05)
    assert levels[2, 0] == trimming_level(GAPS[2], GAPS[0], delta=0.05)
    assert (np.diag(levels) == 0).all()


def test_halves_are_disjoint_and_name_the_larger_side(caplog):
    with caplog.at_level(logging.INFO):
        first, second = disjoint_halves(11, np.random.default_rng(2))
    assert len(first) == 5
    assert sorted([*first, *second]) == list(range(11))
    assert "reference side has the extra one" in caplog.text


def test_fixed_tolerances_below_the_noise_are_marked():
    found = consensus_levels(GAPS, deltas=[0.05, 0.4], kinds=["mixture"])
    assert found.noise_limited == {0.05: True, 0.4: False}


def test_bad_run_sets(caplog):
    with pytest.raises(ValueError, match=r"1 run\(s\) on the candidate side"):
        consensus_levels(GAPS[:1], deltas=[0.1])
    with pytest.raises(ValueError, match=r"1 run\(s\) on the reference side"):
        consensus_levels(GAPS[:4], GAPS[4:5], deltas=[0.1])
    with pytest.raises(ValueError, match=r"unknown reference\(s\) \['median'\]"):
        consensus_levels(GAPS, deltas=[0.1], kinds=["median"])
    with pytest.raises(ValueError, match=r"candidates \[3\] are also reference runs"):
        consensus_levels(GAPS[:4], GAPS[3:], deltas=[0.1])
    with pytest.raises(ValueError, match="logit_mean needs the same examples on both sides, got 120 and 60"):
        consensus_levels(GAPS[:4], GAPS[4:, :60], deltas=[0.1])
    with caplog.at_level(logging.INFO):
        other = consensus_levels(GAPS[:4], GAPS[4:, :60], deltas=[0.1], kinds=["mixture"])
        same = consensus_levels(GAPS, GAPS, deltas=[0.1], kinds=["mixture"])
    assert len(other.level("mixture", 0.1)) == 4
    assert same.left_out
    assert "different numbers of examples" in caplog.text
    assert "left out of its own reference" in caplog.text
    with pytest.warns(UserWarning, match=r"identical runs \[\(0, 3\)\]"):
        consensus_levels(GAPS[[0, 1, 2, 0]], deltas=[0.1], kinds=["mixture"])
