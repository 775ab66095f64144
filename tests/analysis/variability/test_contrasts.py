"""Contrasts of groups: right differences, and intervals that cover, also for means over pairs."""

import numpy as np
import pytest

from analysis.variability.contrasts import all_contrasts, contrast, group_interval, group_mean


def pair_matrix(effects):
    """Symmetric matrix of |a_i - a_j|: a measure of pairs that depends on one value per run."""
    return np.abs(effects[:, None] - effects[None, :])


def test_pairs_are_of_distinct_runs_and_copies_are_none():
    matrix = np.array([[9.0, 1.0, 2.0], [1.0, 9.0, 6.0], [2.0, 6.0, 9.0]])
    assert group_mean(matrix) == pytest.approx(3.0)
    assert group_mean(matrix, np.array([2, 1, 0])) == pytest.approx(1.0)
    assert np.isnan(group_mean(matrix, np.array([3, 0, 0])))
    assert group_mean(np.array([1.0, 4.0]), np.array([3, 1])) == pytest.approx(1.75)


@pytest.mark.slow
def test_intervals_over_pairs_cover_the_true_difference():
    """E|a - b| = 2 sd / sqrt(pi) for normal effects; independent resampling of rows would cover about 70 %."""
    generator = np.random.default_rng(3)
    truth = 2 * (1.0 - 0.5) / np.sqrt(np.pi)
    covered = 0
    for _ in range(150):
        first, second = pair_matrix(generator.normal(0, 1, 30)), pair_matrix(generator.normal(0, 0.5, 30))
        found = contrast({"churn": first}, {"churn": second}, rng=generator, draws=200)["churn"]
        covered += found.low <= truth <= found.high
    assert 0.87 <= covered / 150 <= 0.99


def test_every_pair_of_groups_once_and_antisymmetric():
    generator = np.random.default_rng(0)
    groups = {name: {"level": generator.random(5)} for name in "abc"}
    found = all_contrasts(groups, rng=generator, draws=50)
    assert list(found) == [("a", "b"), ("a", "c"), ("b", "c")]
    back = contrast(groups["b"], groups["a"], rng=generator, draws=50)
    assert back["level"].estimate == pytest.approx(-found["a", "b"]["level"].estimate)


def test_draws_of_one_run_alone_leave_the_interval_finite():
    interval = group_interval(np.array([[0.0, 0.2], [0.2, 0.0]]), rng=np.random.default_rng(0), draws=50)
    assert (interval.low, interval.estimate, interval.high) == pytest.approx((0.2, 0.2, 0.2))


def test_a_single_run_is_refused():
    one = {"level": np.array([0.1])}
    with pytest.raises(ValueError, match="at least 2 runs a side, got 1 and 1"):
        contrast(one, one, rng=np.random.default_rng(0))
