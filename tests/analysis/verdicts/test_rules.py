"""A claim holds only where its whole interval lies beyond bound and margin; equal numbers decide nothing."""

import numpy as np
import pytest

from analysis.verdicts import (
    FAILS,
    HOLDS,
    MIN_RUNS,
    OPEN,
    above,
    above_by_interval,
    below,
    below_by_interval,
    equivalent,
    identity,
    share_above,
    share_below,
    within_band,
)

NAN = float("nan")


def test_a_strict_claim_needs_its_interval_beyond_bound_and_margin():
    values = [3.0, 3.1, 2.9, 3.05, 2.95]
    assert above(values, 2.0, margin=0.1, what="x").outcome == HOLDS
    assert above(values, 2.85, margin=0.1, what="x").outcome == OPEN
    assert above(values, 4.0, margin=0.1, what="x").outcome == FAILS
    assert below(values, 4.0, margin=0.1, what="x").outcome == HOLDS
    assert below(values, 2.0, margin=0.1, what="x").outcome == FAILS
    assert below(values, 3.0, margin=0.1, what="x").outcome == OPEN


@pytest.mark.parametrize("differences", [[0.0] * 10, [1e-15, 0.0, 1e-15, 2e-15, 0.0], [-1e-15, 0.0, 0.0, -2e-15, 0.0]])
def test_equal_numbers_and_rounding_decide_nothing(differences):
    for rule in (above, below):
        assert rule(differences, 0.0, margin=0.01, what="difference").outcome == OPEN


def test_numbers_without_spread_give_no_interval():
    found = above([0.9] * 8, 0.5, margin=0.01, what="accuracy")
    assert found.outcome == OPEN and "equal values give no interval" in found.evidence and found.p is None


def test_one_smallest_number_of_units_holds_everywhere():
    few = [3.0, 3.1, 2.9, 3.05][: MIN_RUNS - 1]
    decided = [
        above(few, 0.0, margin=0.1, what="x"),
        below(few, 9.0, margin=0.1, what="x"),
        equivalent(few, 3.0, margin=1.0, what="x"),
        within_band(few, 0.0, 9.0, what="x"),
        share_above([True] * 4, 0.1, what="x"),
        share_below([False] * 4, 0.9, what="x"),
        above_by_interval((3.0, 2.0, 4.0), 0.0, margin=0.1, n=4, what="x", unit="draws"),
        below_by_interval((3.0, 2.0, 4.0), 9.0, margin=0.1, n=4, what="x", unit="draws"),
        above([], 0.0, margin=0.1, what="x"),
    ]
    assert {one.outcome for one in decided} == {OPEN}
    assert all("5 are needed" in one.evidence for one in decided)


def test_undefined_values_are_counted_and_too_many_decide_nothing():
    values = list(np.linspace(2.9, 3.1, 19))
    found = above([*values, NAN], 2.0, margin=0.1, what="tau")
    assert found.outcome == HOLDS and "1 of 20 undefined" in found.evidence
    found = above([*values, NAN, None, NAN], 2.0, margin=0.1, what="tau")
    assert found.outcome == OPEN and "undefined for 3 of 22 seeds" in found.evidence
    assert share_above([True] * 10 + [None] * 2, 0.5, what="x").outcome == OPEN
    assert identity([0.0] * 5 + [NAN], 1e-10, what="x").outcome == OPEN
    assert identity([0.0], 1e-10, what="x").outcome == HOLDS, "no sampling, so no minimum n"
    assert identity([], 1e-10, what="x").outcome == OPEN


def test_equivalence_is_tested_as_equivalence():
    close = [0.001, -0.002, 0.0, 0.001, -0.001]
    assert equivalent(close, 0.0, margin=0.01, what="x").outcome == HOLDS
    assert equivalent([0.03, -0.05, 0.02, 0.06, -0.04], 0.0, margin=0.01, what="x").outcome == OPEN
    assert equivalent([0.11, 0.12, 0.1, 0.11, 0.1], 0.0, margin=0.01, what="x").outcome == FAILS
    equal = equivalent([0.0] * 5, 0.0, margin=0.01, what="x")
    assert equal.outcome == HOLDS and equal.p is None
    assert equivalent([0.5] * 5, 0.0, margin=0.01, what="x").outcome == OPEN
    assert equivalent([0.0] * 5 + [NAN] * 3, 0.0, margin=0.01, what="x").outcome == OPEN


def test_a_band_is_met_or_missed_by_the_whole_interval():
    assert within_band([0.70, 0.72, 0.69, 0.71, 0.70], 0.64, 0.78, what="tau").outcome == HOLDS
    assert within_band([0.62, 0.72, 0.55, 0.71, 0.70], 0.64, 0.78, what="tau").outcome == OPEN
    assert within_band([0.20, 0.22, 0.19, 0.21, 0.20], 0.64, 0.78, what="tau").outcome == FAILS
    with pytest.raises(ValueError, match="is empty"):
        within_band([1.0] * 5, 1.0, 1.0, what="x")


def test_a_share_is_decided_by_its_exact_bound():
    assert share_above([True] * 3, 0.5, what="x").outcome == OPEN
    assert share_above([True] * 5, 0.5, what="x").outcome == HOLDS  # 1 / 32
    assert share_above([True] * 5, 0.9, what="x").outcome == OPEN
    assert share_above([False] * 8, 0.5, what="x").outcome == FAILS
    assert share_above([True] * 5, 0.5, what="x").p == pytest.approx(1 / 32)
    assert share_below([False] * 5, 0.1, what="x").outcome == OPEN
    assert share_below([False] * 29, 0.1, what="x").outcome == HOLDS  # 0.9 ** 29 < 0.05
    with pytest.raises(ValueError, match="is no share"):
        share_above([True] * 5, 1.0, what="x")


@pytest.mark.parametrize("margin", [0.0, -1.0, NAN])
def test_a_margin_is_stated(margin):
    for rule in (above, below, equivalent):
        with pytest.raises(ValueError, match="smallest difference that counts"):
            rule([1.0, 2.0, 3.0, 4.0, 5.0], 0.0, margin=margin, what="x")


@pytest.mark.parametrize("n", [5, 10])
def test_a_true_difference_of_zero_is_decided_in_at_most_five_percent_of_studies(n):
    rng = np.random.default_rng(0)
    studies = rng.normal(size=(1000, n))
    for rule, at in ((above, -0.05), (below, 0.05)):  # the edge of the margin, where errors are most frequent
        outcomes = [rule(values, at, margin=0.05, what="x").outcome for values in studies.tolist()]
        assert outcomes.count(HOLDS) / 1000 < 0.04 and outcomes.count(FAILS) / 1000 < 0.04
    edge = [within_band(values, 0.0, 1.5, what="x").outcome for values in (studies / 3).tolist()]
    assert edge.count(HOLDS) / 1000 < 0.06
    shares = [share_above(row, 0.6, what="x").outcome for row in (rng.random((1000, 4 * n)) < 0.6).tolist()]
    assert shares.count(HOLDS) / 1000 < 0.06 and shares.count(FAILS) / 1000 < 0.06


def test_a_clear_effect_is_found():
    studies = np.random.default_rng(1).normal(2.5, 1.0, size=(200, 5))
    found = [above(values, 0.0, margin=0.1, what="x").outcome for values in studies.tolist()]
    assert found.count(HOLDS) / 200 > 0.9


def test_nan_is_undefined_in_shares_and_identities():
    nan = float("nan")
    assert share_above([nan] * 6, 0.5, what="x").outcome == OPEN
    assert share_above([True] * 8 + [nan] * 4, 0.5, what="x").outcome == OPEN
    assert identity([nan, 0.0], 1e-9, what="x").outcome == OPEN
    assert identity([nan, nan], 1e-9, what="x").outcome == OPEN
    assert identity([nan, 1.0], 1e-9, what="x").outcome == FAILS
    assert identity([float("inf")], 1e-9, what="x").outcome == FAILS
