"""Bootstrap intervals cover what they claim to cover."""

import numpy as np
import pytest
from scipy import stats

from analysis.resampling import (
    bootstrap_interval,
    correlation,
    interval_from_draws,
    mean_interval,
    rank_correlation,
    two_level_bootstrap_interval,
)


def test_bootstrap_of_a_mean_is_calibrated_and_generic():
    rng = np.random.default_rng(6)
    hits = 0
    for _ in range(120):
        x = rng.normal(size=60)
        interval = bootstrap_interval(lambda c, x=x: float(x @ c / c.sum()), 60, draws=100, rng=rng, level=0.9)
        hits += interval.low <= 0 <= interval.high
        assert interval.standard_error == pytest.approx(x.std() / 60**0.5, rel=0.3)
    assert 0.82 <= hits / 120 <= 0.96
    small = bootstrap_interval(lambda c, x=x: float(x @ c / c.sum()), 60, draws=400, rng=rng, size=15)
    assert small.standard_error == pytest.approx(x.std() / 60**0.5, rel=0.2), "m-out-of-n is rescaled"
    vector = bootstrap_interval(lambda c: np.array([c[0], c.sum()]) * 1.0, 10, draws=30, rng=rng, kind="percentile")
    assert vector.low.shape == (2,)
    assert vector.high[1] == 10


def test_two_levels_are_wider_than_one():
    rng = np.random.default_rng(7)
    table = rng.normal(size=(12, 1)) + 0.1 * rng.normal(size=(12, 50))

    def mean(runs, examples):
        return float(runs @ table @ examples / runs.sum() / examples.sum())

    both = two_level_bootstrap_interval(mean, 12, 50, draws=300, rng=rng)
    examples_only = bootstrap_interval(lambda c: mean(np.ones(12, dtype=int), c), 50, draws=300, rng=rng)
    assert both.standard_error > 5 * examples_only.standard_error
    assert both.standard_error == pytest.approx(table.mean(axis=1).std() / 12**0.5, rel=0.3)


def test_rank_correlations():
    rng = np.random.default_rng(8)
    x = rng.normal(size=80)
    strong = rank_correlation(x, np.exp(x))
    assert strong.estimate == pytest.approx(1) and strong.high == strong.estimate
    assert strong.excludes(0)
    assert not rank_correlation(x, rng.normal(size=80), method="kendall").excludes(0)
    assert correlation(x, np.ones(80)) == 0
    with pytest.raises(ValueError, match="at least 3 runs"):
        rank_correlation(x[:2], x[:2])


def test_intervals_of_correlations_are_those_of_fisher():
    rng = np.random.default_rng(9)
    x, noise = rng.normal(size=(2, 12))
    found = rank_correlation(x, x + noise, method="pearson", level=0.9)
    wanted = stats.pearsonr(x, x + noise).confidence_interval(0.9)
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high), rel=1e-12)
    found = rank_correlation(x, x + noise)
    r = stats.spearmanr(x, x + noise).statistic
    half = 1.959964 * np.sqrt((1 + r * r / 2) / 9)
    assert (found.low, found.high) == pytest.approx(tuple(np.tanh(np.arctanh(r) + [-half, half])), rel=1e-6)


def test_few_runs_and_constant_ones_say_nothing_of_a_correlation():
    three, constant = rank_correlation(np.arange(3.0), np.arange(3.0)), rank_correlation(np.arange(9.0), np.ones(9))
    assert (three.estimate, three.low, three.high) == (1, -1, 1) and (constant.low, constant.high) == (-1, 1)
    four = rank_correlation(np.arange(4.0), np.arange(4.0))
    assert four.high == 1 and four.low < 0, "in one of 24 orders four runs agree by chance"


@pytest.mark.slow
@pytest.mark.parametrize("runs", [4, 5, 10, 20])
@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_intervals_of_rank_correlations_cover_for_few_runs(rho, runs):
    rng = np.random.default_rng(runs)
    truth = 6 / np.pi * np.arcsin(rho / 2)  # of normal variables
    held = 0
    for _ in range(400):
        x, noise = rng.normal(size=(2, runs))
        found = rank_correlation(x, rho * x + np.sqrt(1 - rho**2) * noise)
        held += found.low <= truth <= found.high
    assert held / 400 > 0.92


def test_a_mean_of_few_items_has_the_interval_of_student():
    values = np.array([0.3, 0.9, 0.2, 0.4])
    found = mean_interval(values)
    wanted = stats.t.interval(0.95, 3, values.mean(), stats.sem(values))
    assert (found.low, found.high) == pytest.approx(wanted, rel=1e-12)
    assert mean_interval(values[:2]).estimate == pytest.approx(0.6) and np.isnan(mean_interval(values[:2]).low)


def test_intervals_at_zero_print_a_probability():
    interval = interval_from_draws(0.0, np.zeros(200))
    assert interval.describe() == "0 (all 200 draws are 0: Pr(> 0) < 0.015)"
    assert interval_from_draws(0.5, np.array([0.4, 0.6])).describe(2) == "0.50 [0.41, 0.59]"


def test_bad_settings_are_refused():
    rng = np.random.default_rng(9)
    with pytest.raises(ValueError, match=r"outside \(0, 1\)"):
        bootstrap_interval(lambda c: 0.0, 5, rng=rng, level=1.0)
    with pytest.raises(ValueError, match="nothing to resample"):
        bootstrap_interval(lambda c: 0.0, 0, rng=rng)
    with pytest.raises(ValueError, match="no draws"):
        interval_from_draws(0.0, np.empty(0))
