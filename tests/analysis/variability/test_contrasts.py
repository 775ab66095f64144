"""Contrasts of groups: right differences, and intervals that cover, also for means over pairs."""

import numpy as np
import pytest
from scipy import stats

from analysis.classifier_metrics import churn_matrix
from analysis.resampling import jackknife_interval
from analysis.variability.claims import claim_b4
from analysis.variability.contrasts import all_contrasts, contrast, group_interval, group_mean
from analysis.verdicts import HOLDS


def pair_matrix(effects):
    """Symmetric matrix of |a_i - a_j|: a measure of pairs that depends on one value per run."""
    return np.abs(effects[:, None] - effects[None, :])


def test_pairs_are_of_distinct_runs_and_copies_are_none():
    matrix = np.array([[9.0, 1.0, 2.0], [1.0, 9.0, 6.0], [2.0, 6.0, 9.0]])
    assert group_mean(matrix) == pytest.approx(3.0)
    assert group_mean(matrix, np.array([2, 1, 0])) == pytest.approx(1.0)
    assert np.isnan(group_mean(matrix, np.array([3, 0, 0])))
    assert group_mean(np.array([1.0, 4.0]), np.array([3, 1])) == pytest.approx(1.75)


def symmetric(generator, runs):
    values = generator.random((runs, runs))
    return values + values.T


def test_the_interval_of_a_mean_over_pairs_leaves_one_run_out_at_a_time():
    matrix = symmetric(np.random.default_rng(0), 6)
    left_out = np.array([group_mean(np.delete(np.delete(matrix, i, 0), i, 1)) for i in range(6)])
    wanted, found = jackknife_interval(group_mean(matrix), left_out), group_interval(matrix)
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high), rel=1e-12)
    assert group_interval(matrix, low=0.9, high=1.0).low >= 0.9


def test_contrasts_of_single_values_are_those_of_welch():
    generator = np.random.default_rng(1)
    first, second = generator.normal(1, 1, 4), generator.normal(0, 3, 9)
    for level in (0.95, 0.99):
        found = contrast({"level": first}, {"level": second}, level=level)["level"]
        wanted = stats.ttest_ind(first, second, equal_var=False).confidence_interval(level)
        assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high), rel=1e-10)


def test_every_pair_of_groups_once_and_antisymmetric():
    generator = np.random.default_rng(0)
    groups = {name: {"level": generator.random(5)} for name in "abc"}
    found = all_contrasts(groups)
    assert list(found) == [("a", "b"), ("a", "c"), ("b", "c")]
    assert found["a", "b"]["level"].level == pytest.approx(1 - 0.05 / 3)
    back = contrast(groups["b"], groups["a"])
    assert back["level"].estimate == pytest.approx(-found["a", "b"]["level"].estimate)


def test_two_runs_and_runs_that_do_not_differ_have_no_interval():
    two, equal, others = np.array([[0.0, 0.2], [0.2, 0.0]]), np.full((5, 5), 0.3), np.full((4, 4), 0.1)
    assert group_interval(two).estimate == 0.2 and group_interval(equal).estimate == pytest.approx(0.3)
    assert all(np.isnan([group_interval(values).low, group_interval(values).high]).all() for values in (two, equal))
    for first, second in ((two, symmetric(np.random.default_rng(0), 5)), (equal, others)):
        found = contrast({"churn": first}, {"churn": second})["churn"]
        assert np.isnan([found.low, found.high]).all() and not found.excludes(0)


def churn_of_seeds(runs, rng, base):
    """Churn of runs that each have a bias and a noise of their own."""
    noise = rng.normal(size=(runs, len(base))) * np.exp(0.3 * rng.normal(size=(runs, 1)))
    return churn_matrix((base + 0.3 * rng.normal(size=(runs, 1)) + 0.7 * noise > 0).astype(int))


@pytest.mark.slow
@pytest.mark.parametrize("count", [3, 5, 10, 20])
def test_intervals_hold_the_true_churn_and_the_true_difference_for_few_runs(count):
    rng = np.random.default_rng(count)
    base = 1.5 * rng.normal(size=400)
    sure = 1.5 * base
    truth, other = (group_mean(churn_of_seeds(1500, rng, values)) for values in (base, sure))
    held = np.zeros(3)
    for _ in range(200):
        first, second, again = (
            churn_of_seeds(runs, rng, values) for runs, values in ((count, base), (5, sure), (7, base))
        )
        found = group_interval(first), contrast({"churn": first}, {"churn": second})["churn"]
        null = contrast({"churn": first}, {"churn": again})["churn"]
        held += [
            one.low <= true <= one.high for one, true in zip((*found, null), (truth, truth - other, 0.0), strict=True)
        ]
    assert (held / 200 > 0.9).all(), held


@pytest.mark.slow
@pytest.mark.parametrize("count", [5, 50])
def test_b4_does_not_hold_for_arms_of_one_law(count):
    rng = np.random.default_rng(0)
    base = 1.5 * rng.normal(size=200)
    false = 0
    for _ in range(200):
        arms = [{"level": rng.exponential(0.1, count), "churn": churn_of_seeds(count, rng, base)} for _ in range(2)]
        false += claim_b4(*arms, need=5).decided.outcome == HOLDS
    assert false <= 10


def test_a_single_run_is_refused():
    one = {"level": np.array([0.1])}
    with pytest.raises(ValueError, match="at least 2 runs a side, got 1 and 1"):
        contrast(one, one)
