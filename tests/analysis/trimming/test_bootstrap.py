"""Bootstrap draws are what they claim to be, and intervals cover as the method document measured."""

import numpy as np
import pytest
import torch

from analysis.resampling import (
    bootstrap_interval,
    correlation,
    interval_from_draws,
    multiplicities,
    rank_correlation,
    two_level_bootstrap_interval,
)
from analysis.trimming.bootstrap import bootstrap_levels, null_levels, reference_run_levels
from analysis.trimming.distributions import SortedRuns, StepReference
from analysis.trimming.references import REFERENCES, consensus_levels
from analysis.trimming.solver import Tolerance, solve_levels

RNG = np.random.default_rng(0)
GAPS = RNG.normal(size=90) + 0.8 * RNG.normal(size=(6, 90)) + RNG.normal(0, 0.4, size=(6, 1))


@pytest.mark.parametrize("kind", REFERENCES)
@pytest.mark.parametrize("disjoint", [False, True])
def test_weighted_draws_equal_explicit_resamples(kind, disjoint):
    candidates, others = (GAPS[:3], GAPS[3:]) if disjoint else (GAPS, None)
    found = bootstrap_levels(candidates, others, kind=kind, delta=0.05, draws=20, rng=np.random.default_rng(1))
    again = np.random.default_rng(1)
    for draw in range(3):
        taken = np.repeat(np.arange(90), multiplicities(90, again))
        # Equal examples tie exactly in every run, so explicit means tie exactly as well.
        explicit = consensus_levels(
            candidates[:, taken], None if others is None else others[:, taken], deltas=[0.05], kinds=[kind]
        )
        np.testing.assert_allclose(found[draw], explicit.level(kind, 0.05), atol=1e-9)


def test_draws_do_not_depend_on_the_memory_budget():
    def levels(memory):
        return bootstrap_levels(GAPS, delta=0.05, draws=20, rng=np.random.default_rng(2), memory=memory)

    np.testing.assert_array_equal(levels(1), levels(2**31))


def test_reference_runs_resampled_and_null_levels():
    spread = reference_run_levels(GAPS[:2], GAPS[2:], delta=0.05, draws=20, rng=np.random.default_rng(3))
    assert spread.shape == (20, 2)
    assert (spread.std(axis=0) > 0).all()
    null = null_levels(GAPS.ravel(), 500, delta=0.02, draws=50, rng=np.random.default_rng(4))
    assert 0 < (null > 0).mean() < 1
    assert (null_levels(GAPS.ravel(), 500, delta=0.2, draws=50, rng=np.random.default_rng(4)) == 0).all()


@pytest.mark.slow
def test_basic_intervals_of_levels_cover_better_than_percentile_ones():
    # One row per trial: independent pairs may share the multiplicities of a draw.
    rng = np.random.default_rng(5)
    truth, trials, n = 0.248, 300, 1000
    runs = SortedRuns.of(torch.from_numpy(rng.normal(0.5, 1.2, size=(trials, n))), keep_order=True)
    atoms, order = torch.sort(torch.from_numpy(rng.normal(size=(trials, n))), dim=1)
    reference = StepReference(atoms, n)
    positions = reference.positions(runs.values)
    levels = solve_levels(runs, reference, [Tolerance(0.05)], positions=positions)[0].level
    draws = np.empty((60, trials))
    for draw in range(60):
        counts = torch.from_numpy(multiplicities(n, rng))
        prefix = torch.nn.functional.pad(torch.cumsum(counts[order].double(), dim=1), (1, 0))
        drawn = StepReference(atoms, n, prefix)
        draws[draw] = solve_levels(runs.reweighted(counts), drawn, [Tolerance(0.05)], positions=positions)[0].level
    assert levels.mean() == pytest.approx(0.281, abs=0.008)
    assert draws.mean() == pytest.approx(0.301, abs=0.008)
    covered = {}
    for kind in ("basic", "percentile"):
        interval = interval_from_draws(levels, draws, kind=kind)
        covered[kind] = ((interval.low <= truth) & (truth <= interval.high)).mean()
    assert covered["basic"] == pytest.approx(0.93, abs=0.05)
    assert covered["percentile"] == pytest.approx(0.79, abs=0.08)


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


def test_bad_settings():
    rng = np.random.default_rng(9)
    with pytest.warns(UserWarning, match="10 bootstrap draws are too few"):
        bootstrap_levels(GAPS, delta=0.1, draws=10, rng=rng)
    with pytest.raises(ValueError, match="at least 2"):
        bootstrap_levels(GAPS, delta=0.1, draws=1, rng=rng)
    with pytest.raises(ValueError, match=r"outside \(0, 1\)"):
        bootstrap_interval(lambda c: 0.0, 5, rng=rng, level=1.0)
    with pytest.raises(ValueError, match="nothing to resample"):
        bootstrap_interval(lambda c: 0.0, 0, rng=rng)
    with pytest.raises(ValueError, match="a joint draw needs the same examples"):
        bootstrap_levels(GAPS[:2], GAPS[2:, :50], delta=0.1, rng=rng)
    with pytest.raises(ValueError, match="no draws"):
        interval_from_draws(0.0, np.empty(0))
