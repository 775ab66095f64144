"""The level and the robust distance are exact: equal to linear programs and to closed forms."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from analysis.trimming.distributions import ContinuousReference, SortedRuns
from analysis.trimming.level import (
    as_reference,
    optimal_trimming,
    robust_ks_curves,
    robust_ks_distance,
    trimming_level,
    trimming_levels,
    trimming_results,
)
from analysis.trimming.solver import Tolerance, solve_levels
from tests.references.trimming_lp import distance_by_program, level_by_program


def pairs():
    """Small random pairs: continuous, tied, shifted, disjoint, unequal in size, constant."""
    rng = np.random.default_rng(5)
    yield "equal laws", rng.normal(size=9), rng.normal(size=9)
    yield "shift", rng.normal(0.7, 1, size=11), rng.normal(size=7)
    yield "scale", 3 * rng.normal(size=12), rng.normal(size=9)
    yield "ties", rng.integers(0, 4, size=12).astype(float), rng.integers(0, 4, size=10).astype(float)
    yield "many ties", rng.integers(0, 2, size=8).astype(float), rng.integers(0, 3, size=13).astype(float)
    yield "disjoint", rng.normal(size=6), 20 + rng.normal(size=8)
    yield "constant candidate", np.full(6, 0.25), rng.normal(size=9)
    yield "constant reference", rng.normal(size=9), np.zeros(5)
    yield "one value", np.array([0.3]), rng.normal(size=6)
    yield "outliers", np.r_[rng.normal(size=10), 8.0, 9.0, -7.0], rng.normal(size=12)


CASES = list(pairs())


@pytest.mark.parametrize(("name", "x", "y"), CASES, ids=[case[0] for case in CASES])
def test_distance_and_level_equal_linear_programs(name, x, y):
    for alpha in (0.0, 0.1, 0.37, 0.8):
        assert robust_ks_distance(x, y, alpha=alpha) == pytest.approx(distance_by_program(x, y, alpha), abs=1e-9)
    for delta in (0.02, 0.1, 0.25, 0.4):
        level, feasible = level_by_program(x, y, delta)
        result = trimming_results(x[None], y, deltas=[delta])[0]
        assert result.level[0] == pytest.approx(level, abs=1e-8)
        assert bool(result.attainable[0]) is feasible
        assert feasible or result.floor[0] > delta


def test_weighted_pairs_equal_linear_programs_with_zero_weights():
    rng = np.random.default_rng(11)
    for _ in range(12):
        x = rng.integers(0, 6, size=9).astype(float)
        y = rng.normal(2.5, 2, size=8)
        wx, wy = rng.integers(0, 3, size=9).astype(float), rng.integers(0, 3, size=8).astype(float)
        weights = {"candidate_weights": wx, "reference_weights": wy}
        for delta in (0.05, 0.2, 0.35):
            level, feasible = level_by_program(x[wx > 0], y, delta, wx[wx > 0], wy)
            assert trimming_level(x, y, delta=delta, **weights) == pytest.approx(level, abs=1e-8)
            kept = trimming_results(np.repeat(x, wx.astype(int))[None], np.repeat(y, wy.astype(int)), deltas=[delta])[0]
            prefix = np.r_[0, np.cumsum(wx[np.argsort(x, kind="stable")])][None]
            runs = SortedRuns(torch.sort(torch.tensor(x))[0][None], prefix=torch.tensor(prefix))
            weighted = solve_levels(runs, as_reference(y, weights=wy), [Tolerance(delta)])[0]
            assert weighted.floor == pytest.approx(kept.floor, abs=1e-12)
            assert bool(weighted.attainable[0]) is feasible
        assert robust_ks_distance(x, y, alpha=0.3, **weights) == pytest.approx(
            distance_by_program(x[wx > 0], y, 0.3, wx[wx > 0], wy), abs=1e-9
        )


small = st.lists(st.integers(-6, 6).map(float), min_size=1, max_size=10).map(np.array)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(x=small, y=small, delta=st.floats(0.01, 0.45))
def test_any_small_integer_pair_equals_its_program(x, y, delta):
    level, feasible = level_by_program(x, y, delta)
    result = trimming_results(x[None], y, deltas=[delta])[0]
    assert result.level[0] == pytest.approx(level, abs=1e-7)
    assert bool(result.attainable[0]) is feasible
    shares = (np.searchsorted(np.sort(sample), np.r_[x, y], side="right") / len(sample) for sample in (x, y))
    assert result.ks[0] == pytest.approx(np.abs(np.subtract(*shares)).max(), abs=1e-12)


def test_untrimmed_distance_is_the_two_sample_statistic():
    rng = np.random.default_rng(1)
    x, y = rng.normal(0.2, 1, size=400).round(1), rng.normal(size=333).round(1)
    assert robust_ks_distance(x, y, alpha=0.0) == pytest.approx(stats.ks_2samp(x, y).statistic, abs=1e-12)
    assert robust_ks_distance(x, stats_cdf, alpha=0.0) == pytest.approx(stats.kstest(x, "norm").statistic, abs=1e-12)


def stats_cdf(t):
    return torch.special.ndtr(t)


def test_equal_samples_have_level_zero_and_disjoint_ones_level_one():
    rng = np.random.default_rng(2)
    x = rng.normal(size=50).round(1)
    for other in (x, rng.permutation(x), np.repeat(x, 3)):
        assert trimming_level(x, other, delta=0.0) == 0
        assert trimming_level(other, x, delta=0.0) == 0
    for far in (x + 100, x - 100):
        result = trimming_results(x[None], far, deltas=[0.2])[0]
        assert (result.level[0], result.ks[0], result.floor[0], result.attainable[0]) == (1, 1, 1, False)


@pytest.mark.parametrize("delta", [0.0, 0.02, 0.05])
def test_far_outliers_have_the_level_of_their_share(delta):
    y = np.random.default_rng(3).normal(size=400)
    for k in (0, 10, 40, 120):
        share = k / (len(y) + k)
        one_sided = np.r_[y, 100 + np.arange(k)]
        half = k // 2
        both = np.r_[y, 100 + np.arange(half), -100 - np.arange(half)]
        assert trimming_level(one_sided, y, delta=delta) == pytest.approx(
            max(0, (share - delta) / (1 - delta)), abs=1e-9
        )
        assert trimming_level(both, y, delta=delta) == pytest.approx(
            max(0, (share - 2 * delta) / (1 - 2 * delta)), abs=1e-9
        )


def test_distance_falls_slowly_and_meets_delta_at_the_level():
    rng = np.random.default_rng(4)
    x, y = rng.normal(0.5, 1.2, size=300), rng.normal(size=200)
    alphas = np.linspace(0, 0.95, 40)
    curve = robust_ks_curves(x[None], y, alphas=list(alphas))[:, 0]
    assert (np.diff(curve) <= 1e-12).all()
    assert (curve >= curve[0] - alphas - 1e-12).all()
    for delta in (0.03, 0.08, 0.15):
        level = trimming_level(x, y, delta=delta)
        assert 0 < level < 1
        assert robust_ks_distance(x, y, alpha=level) == pytest.approx(delta, abs=1e-12)


def test_common_increasing_maps_and_reflection_change_nothing():
    rng = np.random.default_rng(6)
    x, y = rng.normal(0.4, 1.3, size=150).round(2), rng.normal(size=170).round(2)
    level = trimming_level(x, y, delta=0.06)
    for mapped in (np.tanh, np.exp, lambda t: 3 * t - 1, lambda t: -t):
        assert trimming_level(mapped(x), mapped(y), delta=0.06) == pytest.approx(level, abs=1e-12)


@pytest.mark.parametrize(
    ("mean", "sd", "delta", "level"),
    [(0.3, 1.0, 0.05, 0.181), (0.5, 1.2, None, 0.209), (0.5, 1.2, 0.05, 0.248)],
)
def test_population_levels_of_gaussians(mean, sd, delta, level):
    delta = np.sqrt(np.log(200) / 1000) if delta is None else delta
    grid = (np.arange(200_000) + 0.5) / 200_000
    found = trimming_level(stats.norm.ppf(grid, mean, sd), ContinuousReference(stats_cdf), delta=delta)
    assert found == pytest.approx(level, abs=6e-4)


def test_a_constant_candidate_says_that_trimming_cannot_help():
    y = np.random.default_rng(8).normal(size=100)
    result = trimming_results(np.zeros((1, 20)), y, deltas=[0.1])[0]
    assert result.level[0] == 1
    assert not result.attainable[0]
    assert result.floor[0] == pytest.approx(result.ks[0])


def test_batches_chunks_dtypes_and_scalars_agree():
    rng = np.random.default_rng(9)
    gaps = rng.normal(rng.normal(0, 0.3, size=(23, 1)), 1, size=(23, 200)).astype(np.float32).round(2)
    reference = rng.normal(size=500).astype(np.float32).round(2)
    batch = trimming_levels(gaps, reference, delta=0.07)
    assert batch.dtype == np.float64
    one_by_one = [trimming_level(row, reference, delta=0.07) for row in gaps]
    np.testing.assert_array_equal(batch, one_by_one)
    np.testing.assert_array_equal(batch, trimming_levels(gaps, reference, delta=0.07, memory=1))
    np.testing.assert_array_equal(batch, trimming_levels(gaps.astype(np.float64), reference, delta=0.07))
    np.testing.assert_array_equal(
        batch, trimming_levels(torch.from_numpy(gaps), torch.from_numpy(reference), delta=0.07)
    )
    pooled = trimming_levels(gaps, reference.reshape(5, 100), delta=0.07)
    np.testing.assert_array_equal(batch, pooled)
    assert len(np.unique(batch)) > 5


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_gpu_equals_cpu():
    rng = np.random.default_rng(10)
    gaps, reference = rng.normal(0.2, 1, size=(8, 500)), rng.normal(size=(6, 500))
    np.testing.assert_array_equal(
        trimming_levels(gaps, reference, delta=0.05, device="cuda"),
        trimming_levels(gaps, reference, delta=0.05),
    )


def test_the_plotted_trimming_attains_the_distance():
    rng = np.random.default_rng(12)
    for x, y in (
        (rng.normal(0.4, 1.3, 90).round(1), rng.normal(size=70).round(1)),
        (rng.normal(size=8), np.ones(3)),
    ):
        for alpha in (0.0, 0.2, 0.6):
            plan = optimal_trimming(x, y, alpha=alpha)
            assert plan.distance == pytest.approx(robust_ks_distance(x, y, alpha=alpha), abs=1e-12)
            assert plan.kept.min() >= 0
            assert plan.kept.max() <= 1 / (1 - alpha) + 1e-12
            counts = np.array([(x == value).sum() for value in plan.values])
            assert (counts * plan.kept).sum() == pytest.approx(len(x))
            points = np.unique(np.r_[x, y])
            mass = np.array([(counts * plan.kept)[plan.values <= t].sum() for t in points]) / len(x)
            ecdf = np.searchsorted(np.sort(y), points, side="right") / len(y)
            assert np.abs(mass - ecdf).max() == pytest.approx(plan.distance, abs=1e-9)


def test_bad_input_is_refused_with_a_reason():
    x = np.arange(5.0)
    with pytest.raises(ValueError, match=r"2 NaN or infinite values in run\(s\) \[1\], the first at index \(1, 0\)"):
        trimming_levels(np.array([[0.0, 1.0], [np.nan, np.inf]]), x, delta=0.1)
    with pytest.raises(ValueError, match="candidate is empty"):
        trimming_level(np.empty(0), x, delta=0.1)
    with pytest.raises(ValueError, match="reference is empty"):
        trimming_level(x, np.empty(0), delta=0.1)
    with pytest.raises(ValueError, match="nothing can be rejected"):
        trimming_level(x, x, delta=1.0)
    with pytest.raises(ValueError, match=r"outside \[0, 1\)"):
        trimming_level(x, x, delta=-0.1)
    with pytest.raises(ValueError, match=r"alpha = 1.0 is outside \[0, 1\)"):
        robust_ks_distance(x, x, alpha=1.0)
    with pytest.raises(ValueError, match="candidate_weights must be non-negative"):
        trimming_level(x, x, delta=0.1, candidate_weights=-np.ones(5))
    with pytest.warns(UserWarning, match="so wide"):
        trimming_level(x, x, delta=0.6)
