"""Stated errors hold the truth as often as they say."""

import numpy as np
import pytest

from kernels.operator.entropy import spectral_entropy
from kernels.operator.estimates import Estimate, estimate_moments, mean_interval

SPECTRA = {
    "one direction": np.array([1.0]),
    "geometric": 0.6 ** np.arange(12),
    "power law": 1.0 / np.arange(1, 200),
    "flat": np.ones(100),
}


@pytest.mark.parametrize("name", SPECTRA)
@pytest.mark.parametrize("probes", [8])
def test_intervals_of_quadratic_forms_cover(name: str, probes: int) -> None:
    weights, generator = SPECTRA[name], np.random.default_rng([probes, *name.encode()])
    forms = generator.chisquare(1, (300, probes, len(weights))) @ weights
    ends = np.array([mean_interval(one, 0.95) for one in forms])
    held = np.mean((ends[:, 0] <= weights.sum()) & (weights.sum() <= ends[:, 1]))
    assert held > 0.91  # 95 % less three standard errors of 300 draws
    if name == "flat":
        assert np.median(ends[:, 1] - ends[:, 0]) < 0.4 * weights.sum()  # and not by being useless


@pytest.mark.parametrize("decay", [0.5, 1.0, 2.0])
def test_trace_and_norm_lie_in_their_intervals(decay: float) -> None:
    size, generator = 150, np.random.default_rng(0)
    basis = np.linalg.qr(generator.standard_normal((size, size)))[0]
    values = np.arange(1, size + 1) ** -decay
    kernel = (basis * values) @ basis.T
    held = []
    for seed in range(60):
        found = estimate_moments(
            kernel.__matmul__, kernel.__matmul__, size, 24, np.random.default_rng(seed), square=True
        )
        low, high = found.trace.interval(0.95, 1e-14)
        square = found.square.interval(0.95, 1e-14)
        held.append([low <= values.sum() <= high, square[0] <= (values**2).sum() <= square[1]])
        assert found.products == 24
    assert np.mean(held, 0).min() >= 0.88


def test_as_many_products_as_rows_are_exact() -> None:
    kernel = np.diag([3.0, 1.0])
    found = estimate_moments(kernel.__matmul__, kernel.__matmul__, 2, 48, np.random.default_rng(0), square=True)
    assert found.trace.interval(0.95, 0.0) == (4.0, 4.0) and found.square.value == 10.0 and found.products == 2
    with pytest.raises(ValueError, match="products=3.*at least 4"):
        estimate_moments(kernel.__matmul__, kernel.__matmul__, 200, 3, np.random.default_rng(0), square=True)


def test_the_same_seed_gives_the_same_numbers() -> None:
    kernel = np.diag(1.0 / np.arange(1, 61))

    def run(seed: int) -> float:
        times = kernel.__matmul__
        return estimate_moments(times, times, 60, 12, np.random.default_rng(seed), square=True).trace.value

    assert run(1) == run(1) != run(2)


@pytest.mark.parametrize("decay", [0.5, 1.5])
def test_entropies_lie_in_their_intervals(decay: float) -> None:
    size, generator = 200, np.random.default_rng(0)
    basis = np.linalg.qr(generator.standard_normal((size, size)))[0]
    values = np.arange(1, size + 1) ** -decay
    kernel = (basis * values) @ basis.T
    shares = values / values.sum()
    truth = -(shares * np.log(shares)).sum()
    found = [spectral_entropy(kernel.__matmul__, size, 90, np.random.default_rng(seed), 0.95) for seed in range(20)]
    assert np.mean([truth in one for one in found]) >= 0.9
    assert np.mean([abs(one.value - truth) for one in found]) < 0.12 and max(one.products for one in found) <= 90


def test_entropy_of_few_rows_and_of_nothing() -> None:
    kernel = np.diag([2.0, 2.0, 0.0])
    found = spectral_entropy(kernel.__matmul__, 3, 30, np.random.default_rng(0), 0.95)
    assert found.value == pytest.approx(np.log(2)) and found.error == 0 and found.confidence == 1
    with pytest.raises(ValueError, match="the kernel is zero"):
        spectral_entropy(lambda x: 0 * x, 3, 30, np.random.default_rng(0), 0.95)
    with pytest.raises(ValueError, match="the kernel is zero"):
        spectral_entropy(lambda x: 0 * x, 300, 60, np.random.default_rng(0), 0.95)


def test_an_estimate_reads_like_a_number() -> None:
    found = Estimate(10.0, 9.5, 10.75, products=30, method="hutch++")
    assert float(found) == 10 and found.error == 0.75 and 9.5 in found and 11 not in found
    assert str(found) == "10 (95%: 9.5 to 10.75; hutch++, 30 products)"
