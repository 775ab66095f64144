"""Tolerances, intervals and p-values: exact constants, and coverage by seeded simulation."""

import numpy as np
import pytest
import torch
from scipy import stats

from analysis.trimming.distributions import StepReference
from analysis.trimming.level import trimming_levels
from analysis.trimming.thresholds import (
    contamination_tolerance,
    dkw_threshold,
    exact_ks_threshold,
    examples_for_threshold,
    ks_p_values,
    ks_tail,
    level_interval,
)


def test_dkw_threshold_and_examples_needed():
    assert dkw_threshold(1000, 1000) == pytest.approx(np.sqrt(np.log(200) / 1000))
    assert dkw_threshold(1000, 1000) + 1 / 1000 == pytest.approx(0.0738, abs=5e-5)
    assert dkw_threshold(200) == pytest.approx(np.sqrt(np.log(200) / 400))
    assert dkw_threshold(300, 700, eps=0.05) == pytest.approx(np.sqrt(1000 / 210000 * np.log(40) / 2))
    assert examples_for_threshold(0.05) == 2120


@pytest.mark.parametrize(("n", "m"), [(5, 5), (8, 5), (12, 30), (40, 40)])
def test_exact_tail_equals_scipy(n, m):
    rng = np.random.default_rng(n)
    for shift in (0.0, 0.8, 1.6):
        x, y = rng.normal(size=n), rng.normal(shift, 1, size=m)
        expected = stats.ks_2samp(x, y, method="exact")
        assert ks_tail(expected.statistic, n, m) == pytest.approx(expected.pvalue, rel=1e-8, abs=1e-12)
    threshold = exact_ks_threshold(n, m, eps=0.05)
    step = 1 / np.lcm(n, m)
    assert ks_tail(threshold + step, n, m) <= 0.05 < ks_tail(threshold, n, m)


@pytest.mark.slow
def test_null_rate_stays_below_eps():
    rng = np.random.default_rng(0)
    trials, n = 4000, 1000
    gaps, others = rng.normal(size=(trials, n)), np.sort(rng.normal(size=(trials, n)), axis=1)
    delta = dkw_threshold(n, n)
    levels = trimming_levels(gaps, StepReference(torch.from_numpy(others), n), delta=delta)
    assert (levels > 0).mean() <= 0.01 + 4 * np.sqrt(0.01 / trials)
    one_sample = trimming_levels(gaps, gaussian_cdf, delta=dkw_threshold(n))
    assert (one_sample > 0).mean() <= 0.01 + 4 * np.sqrt(0.01 / trials)
    assert (trimming_levels(gaps + 1, others[0], delta=delta) > 0).all()


def gaussian_cdf(t):
    return (t / 2**0.5).erf().add(1).div(2)


def test_contamination_bound_never_exceeds_the_share_and_the_level_is_no_bound():
    rng = np.random.default_rng(1)
    n = 1000
    for share, mean_bound in ((0.02, 0.0), (0.10, 0.005), (0.30, 0.208)):
        outlier = rng.random((300, n)) < share
        gaps = np.where(outlier, rng.normal(4, 0.5, size=(300, n)), rng.normal(size=(300, n)))
        found = level_interval(gaps, rng.normal(size=n), delta=dkw_threshold(n, n))
        realized = outlier.mean(axis=1)
        assert (found.contamination <= realized).all()
        assert found.contamination.mean() == pytest.approx(mean_bound, abs=0.02)
        assert (found.low <= found.level).all()
        assert (found.level <= found.high).all()


def test_level_interval_covers_the_population_level():
    rng = np.random.default_rng(2)
    n, delta, truth = 1000, 0.05, 0.248
    gaps = rng.normal(0.5, 1.2, size=(200, n))
    found = level_interval(gaps, rng.normal(size=n), delta=delta, eps=0.05)
    assert ((found.low <= truth) & (truth <= found.high)).mean() >= 0.95
    assert (found.high == 1).all(), "delta below A + B leaves the upper end at 1"
    wide = level_interval(gaps, rng.normal(size=n), delta=0.2, eps=0.05)
    assert (wide.high < 1).all()


def test_contamination_tolerance_constants():
    slack = contamination_tolerance(400, 900, eps=0.01)
    assert slack.constant == pytest.approx(np.sqrt(np.log(400) / 1800))
    assert slack.slope == pytest.approx(np.sqrt(np.log(400) / 800))


def test_p_values():
    distances = np.array([0.02, 0.1, 0.2])
    p = ks_p_values(distances, 300, 200)
    np.testing.assert_allclose(p, np.minimum(1, 2 * np.exp(-2 * 120 * distances**2)))
    exact = ks_p_values(distances[1:], 30, 20, method="exact")
    assert (exact <= ks_p_values(distances[1:], 30, 20)).all()


def test_bad_input_says_what_is_needed():
    with pytest.raises(ValueError, match="nothing can be rejected; use at least n = m = 6 examples"):
        dkw_threshold(5, 5)
    with pytest.warns(UserWarning, match="few candidates"):
        dkw_threshold(20, 20)
    for eps in (0.0, 1.0, -1.0):
        with pytest.raises(ValueError, match=r"eps = .* is outside \(0, 1\)"):
            dkw_threshold(1000, 1000, eps=eps)
    with pytest.raises(ValueError, match="eps=nan must be a number, such as eps=0.01"):
        dkw_threshold(1000, 1000, eps=float("nan"))
    with pytest.raises(ValueError, match="sample sizes must be at least 1"):
        dkw_threshold(0, 10)
    with pytest.raises(ValueError, match="nothing can be rejected"):
        exact_ks_threshold(3, 3, eps=0.01)
    with pytest.raises(ValueError, match="infinitely many"):
        examples_for_threshold(0.0)
