"""Planted rank-one spikes leave the bulk where, and only where, theory says."""

import math

import numpy as np
import pytest
from scipy.linalg import eigvalsh_tridiagonal

from analysis.spectra.marchenko_pastur import MarchenkoPastur
from analysis.spectra.outliers import (
    check_perturbation_bounds,
    count_outliers,
    predict_spike,
    spike_margin,
    spike_threshold,
)
from analysis.spectra.weights import leading_vectors, weight_spectrum

ROWS, COLUMNS = 600, 400
RATIO = COLUMNS / ROWS


def plant(strength: float, generator: np.random.Generator) -> tuple[float, float, float, int]:
    u, v = generator.standard_normal(ROWS), generator.standard_normal(COLUMNS)
    u, v = u / np.linalg.norm(u), v / np.linalg.norm(v)
    matrix = generator.standard_normal((ROWS, COLUMNS)) / math.sqrt(ROWS) + strength * np.outer(u, v)
    top = leading_vectors(matrix)
    count = count_outliers(weight_spectrum(matrix) ** 2, ROWS, COLUMNS).count
    return (
        float(top.values[0] ** 2),
        float(top.right[:, 0] @ v) ** 2,
        float(top.left[:, 0] @ u) ** 2,
        count,
    )


@pytest.mark.parametrize("multiple", [0.7, 1.2, 1.6, 2.5])
def test_largest_eigenvalue_and_overlaps(multiple: float) -> None:
    generator = np.random.default_rng([1, int(10 * multiple)])
    strength = multiple * spike_threshold(RATIO)
    draws = np.array([plant(strength, generator) for _ in range(6)])
    predicted = predict_spike(strength, RATIO)
    assert draws[:, 0].mean() == pytest.approx(predicted.eigenvalue, rel=0.04)
    if multiple < 1:
        assert not predicted.is_outlier
        assert predicted.eigenvalue == pytest.approx(MarchenkoPastur(RATIO).edges[1])
        assert np.all(draws[:, 3] == 0)
        return
    for column, overlap in ((1, predicted.overlap_columns), (2, predicted.overlap_rows)):
        spread = draws[:, column].std(ddof=1) / math.sqrt(len(draws))
        assert abs(draws[:, column].mean() - overlap) < 5 * spread + 0.06 / multiple**2
    if multiple >= 1.6:
        assert np.all(draws[:, 3] == 1)


def test_prediction_is_continuous_at_the_threshold() -> None:
    just_above = predict_spike(spike_threshold(RATIO) * (1 + 1e-9), RATIO)
    assert just_above.is_outlier
    assert just_above.eigenvalue == pytest.approx(MarchenkoPastur(RATIO).edges[1])
    assert just_above.overlap_columns == pytest.approx(0.0, abs=1e-6)
    assert just_above.overlap_rows == pytest.approx(0.0, abs=1e-6)


def test_count_scales_with_variance() -> None:
    generator = np.random.default_rng(5)
    matrix = 0.1 * generator.standard_normal((ROWS, COLUMNS))
    matrix[:, 0] += 1.0
    eigenvalues = weight_spectrum(matrix) ** 2 / ROWS
    assert count_outliers(eigenvalues, ROWS, COLUMNS, variance=0.01).count == 1
    assert count_outliers(eigenvalues, ROWS, COLUMNS, variance=100.0).count == 0


def test_margin_is_one_at_the_threshold() -> None:
    norm = spike_threshold(RATIO) * math.sqrt(ROWS * 0.3)
    assert spike_margin(norm, ROWS, COLUMNS, variance=0.3) == pytest.approx(1.0)


def test_perturbation_bounds_hold_between_checkpoints_and_catch_mix_ups() -> None:
    generator = np.random.default_rng(2)
    first = generator.standard_normal((60, 50))
    change = 0.1 * generator.standard_normal((60, 50)) + np.outer(np.ones(60), np.ones(50)) * 0.05
    spectra = [weight_spectrum(m) for m in (first, first + change, change)]
    check_perturbation_bounds(*spectra)
    other = weight_spectrum(3 * first)
    with pytest.raises(ArithmeticError, match="Weyl"):
        check_perturbation_bounds(spectra[0], other, spectra[2])
    with pytest.raises(ArithmeticError, match="Hoffman-Wielandt"):
        check_perturbation_bounds(spectra[0], spectra[0] + 0.9 * spectra[2][0], np.r_[spectra[2][:1], np.zeros(49)])


def test_negative_strength_is_refused() -> None:
    with pytest.raises(ValueError, match="strength"):
        predict_spike(-1.0, 0.5)


@pytest.mark.slow
def test_false_outliers_are_as_rare_as_documented() -> None:
    """About 3e-4 at four Tracy-Widom scales for 60 x 60, over draws of the exact law."""
    generator, draws, hits = np.random.default_rng(0), 40_000, 0
    for _ in range(draws):
        main = np.sqrt(generator.chisquare(np.arange(60, 0, -1)))
        lower = np.sqrt(generator.chisquare(np.arange(59, 0, -1)))
        diagonal = main**2
        diagonal[1:] += lower**2
        top = eigvalsh_tridiagonal(diagonal, main[:-1] * lower, select="i", select_range=(59, 59)) / 60
        hits += count_outliers(top, 60, 60).count
    assert 4 <= hits <= 24, f"{hits} false outliers in {draws}; 3e-4 predicts 12"
