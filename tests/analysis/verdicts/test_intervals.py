"""Intervals stay within their range, cover what they should, and are printed with the digits that they allow."""

import numpy as np
import pytest

from analysis.verdicts import (
    digits,
    exact_interval,
    format_estimate,
    proportion_interval,
    run_interval_within,
    student_mean_interval,
)
from analysis.verdicts.intervals import jackknife_share_interval


def test_a_proportion_never_leaves_its_range_and_is_never_certain():
    assert proportion_interval(10, 10) == pytest.approx((0.7225, 1.0), abs=1e-4)  # n / (n + z²)
    assert proportion_interval(0, 4)[0] == 0.0 < proportion_interval(0, 4)[1] < 1.0
    assert exact_interval(3, 3) == pytest.approx((0.025 ** (1 / 3), 1.0))
    for hits, n in ((0, 0), (3, 2), (-1, 2)):
        with pytest.raises(ValueError, match="is not a proportion"):
            proportion_interval(hits, n)
        with pytest.raises(ValueError, match="is not a proportion"):
            exact_interval(hits, n)


def test_an_interval_of_runs_stays_within_its_range():
    accuracy = [92.0, 99.9, 84.0, 99.7, 100.0]
    assert student_mean_interval(accuracy)[3] > 100
    mean, _, low, high = run_interval_within(accuracy, 0, 100)
    assert 0 < low < mean < high < 100
    assert np.isnan(run_interval_within([100.0] * 5, 0, 100)[2:]).all()
    assert np.isnan(run_interval_within([100.0], 0, 100)[2:]).all()
    with pytest.raises(ValueError, match="outside"):
        run_interval_within([0.5, 1.2], 0, 1)


def test_in_the_middle_of_the_range_it_is_close_to_students():
    values = [0.50, 0.52, 0.49, 0.51, 0.48]
    assert run_interval_within(values, 0, 1) == pytest.approx(student_mean_interval(values), abs=2e-3)


@pytest.mark.parametrize("rate", [0.6, 0.9, 0.97])
def test_an_interval_of_runs_covers_the_mean(rate):
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(1000):
        values = rng.binomial(200, rng.beta(50 * rate, 50 * (1 - rate), 5)) / 200
        _, _, low, high = run_interval_within(values.tolist(), 0, 1)
        hits += low <= rate <= high
    assert hits / 1000 > 0.92


def test_digits_follow_the_width_of_the_interval():
    assert digits(0.624, 0.705) == 3 and digits(84.9, 99.1) == 1 and digits(100, 4000) == 0
    assert format_estimate(0.664123, 0.62399, 0.70511) == "0.664 [0.624, 0.705]"
    assert format_estimate(95.12, 78.3, 99.1) == "95 [78, 99]"
    assert format_estimate(0.02, -0.01, 0.05, signed=True) == "+0.020 [-0.010, +0.050]"
    assert format_estimate(1.234e-12, 1.1e-12, 1.4e-12) == "1.23e-12 [1.10e-12, 1.40e-12]"
    assert format_estimate(float("nan"), 0, 1) == "undefined"
    assert format_estimate(0.51234, float("nan"), float("nan")) == "0.512 (no interval)"


def test_an_interval_that_does_not_hold_its_estimate_is_not_written():
    assert format_estimate(0.512, 0.03, 0.43) == "0.512 (no interval)"
    assert format_estimate(-0.2, -0.1, 0.3, signed=True) == "-0.2 (no interval)"
    assert format_estimate(0.43 + 1e-16, 0.03, 0.43) == "0.43 [0.03, 0.43]"


def test_rounding_at_an_end_of_the_range_is_no_value_outside():
    mean, _, low, high = run_interval_within([100.00000000000001, 100.0, 99.9, 99.8], 0, 100)
    assert low < mean < high <= 100
    with pytest.raises(ValueError, match="first 100.1"):
        run_interval_within([100.1, 100.0], 0, 100)


def test_zero_has_no_sign():
    assert format_estimate(-0.0004, -0.04, 0.03) == "0.000 [-0.040, 0.030]"


def test_shares_that_depend_on_each_other_have_wilsons_interval_with_the_error_of_the_jackknife():
    values = [0.0, 0.2, 0.1, 0.4, 0.05]
    left_out = [(sum(values) - value) / 4 for value in values]  # of independent shares
    _, _, low, high = run_interval_within(values, 0, 1)
    assert jackknife_share_interval(values, left_out) == pytest.approx((low, high), rel=1e-12)
    wider = jackknife_share_interval(values, left_out, variance=0.01)
    assert 0 <= wider[0] < low and high < wider[1] <= 1
    assert jackknife_share_interval([0.0] * 5, [0.0] * 5) == exact_interval(0, 5)
    assert jackknife_share_interval([1.0] * 5, [1.0] * 5) == exact_interval(5, 5)
    for values in ([0.1, 0.3], [0.2] * 4):
        assert np.isnan(jackknife_share_interval(values, values)).all()
