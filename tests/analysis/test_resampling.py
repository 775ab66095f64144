"""Bootstrap intervals cover what they claim to cover."""

import numpy as np
import pytest

from analysis.resampling import (
    bootstrap_interval,
    correlation,
    interval_from_draws,
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
    strong = rank_correlation(x, np.exp(x), draws=50, rng=rng)
    assert strong.estimate == pytest.approx(1)
    assert strong.excludes(0)
    assert not rank_correlation(x, rng.normal(size=80), draws=200, rng=rng, method="kendall").excludes(0)
    assert correlation(x, np.ones(80)) == 0
    with pytest.raises(ValueError, match="at least 3 runs"):
        rank_correlation(x[:2], x[:2], rng=rng)


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
