"""Spectra of weights: every reference, every bad input."""

import math

import numpy as np
import pytest
import torch

from analysis.spectra.weights import (
    alignment,
    describe_spectrum,
    failed_row,
    ks_between,
    leading_vectors,
    reference_law,
    stable_rank,
    wasserstein_between,
    weight_spectrum,
)

SHAPES = [(120, 80), (80, 120), (90, 90), (5, 300)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_spectrum_equals_the_svd(shape: tuple[int, int], dtype: torch.dtype) -> None:
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    slow = np.linalg.svd(weight.double().numpy(), compute_uv=False)
    np.testing.assert_allclose(weight_spectrum(weight), slow, atol=1e-7 * slow[0])
    np.testing.assert_allclose(weight_spectrum(weight.T), slow, atol=1e-7 * slow[0])


@pytest.mark.parametrize("shape", SHAPES)
def test_leading_vectors_equal_the_svd(shape: tuple[int, int]) -> None:
    weight = np.random.default_rng(0).standard_normal(shape)
    u, s, vt = np.linalg.svd(weight, full_matrices=False)
    top = leading_vectors(weight, 3)
    np.testing.assert_allclose(top.values, s[:3], rtol=1e-9)
    for k in range(3):
        assert alignment(top.left[:, k], u[:, k]) == pytest.approx(1.0, abs=1e-8)
        assert alignment(top.right[:, k], vt[k]) == pytest.approx(1.0, abs=1e-8)
        assert top.right[np.argmax(np.abs(top.right[:, k])), k] > 0
    rebuilt = top.left * top.values @ top.right.T
    np.testing.assert_allclose(rebuilt, (u[:, :3] * s[:3]) @ vt[:3], atol=1e-8)


def test_bad_matrices_are_refused() -> None:
    broken = torch.zeros(60, 60)
    broken[0, 0] = math.nan
    with pytest.raises(ValueError, match="1 of 3600 entries are not finite"):
        weight_spectrum(broken)
    with pytest.raises(ValueError, match="count"):
        leading_vectors(torch.zeros(4, 4), 5)
    with pytest.raises(ValueError, match="zero vector"):
        alignment(np.zeros(3), np.ones(3))


def test_a_failed_matrix_is_a_row() -> None:
    row = failed_row((60, 70), "3 of 4200 entries are not finite")
    assert (row.status, row.outliers, row.rows) == ("failed", -1, 60)
    assert describe_spectrum(np.full(60, math.nan), (60, 70)).status == "failed"


def test_untrained_and_spiked_weights_are_described() -> None:
    generator = np.random.default_rng(0)
    start = 0.1 * generator.standard_normal((300, 200))
    spike = 3.0 * np.outer(generator.standard_normal(300), generator.standard_normal(200)) / math.sqrt(300 * 200)
    first, now, change = (weight_spectrum(m) for m in (start, start + spike, spike))
    still = describe_spectrum(first, start.shape, start=first)
    assert (still.status, still.note, still.outliers, still.ks_start) == ("ok", "", 0, 0.0)
    assert still.variance == pytest.approx(0.01, rel=0.03)
    assert still.ks_law < 6 / 200
    moved = describe_spectrum(now, start.shape, start=first, change=change)
    assert moved.outliers == 1 and moved.deviation > 4 and moved.margin > 1
    assert moved.ks_start == pytest.approx(ks_between(now, first))
    assert moved.change_stable_rank == pytest.approx(1.0)
    assert moved.change_frobenius == pytest.approx(np.linalg.norm(spike) / math.sqrt(200 * moved.variance))
    alone = describe_spectrum(now, start.shape)
    assert alone.note == "variance from the bulk median" and alone.outliers == 1
    wide = describe_spectrum(weight_spectrum((start + spike).T), (200, 300), start=first)
    assert wide.largest == pytest.approx(moved.largest)


def test_mixed_up_spectra_are_caught() -> None:
    generator = np.random.default_rng(0)
    spectra = [weight_spectrum(s * generator.standard_normal((80, 60))) for s in (1.0, 3.0, 0.1)]
    with pytest.raises(ArithmeticError, match="are both spectra of the same weight"):
        describe_spectrum(spectra[1], (80, 60), start=spectra[0], change=spectra[2])


@pytest.mark.parametrize("start", ["orthogonal", "zero", "pretrained"])
def test_starts_that_are_not_iid_have_no_law(start: str) -> None:
    generator = np.random.default_rng(0)
    noise = generator.standard_normal((120, 80))
    matrix = {
        "orthogonal": np.linalg.qr(noise)[0],
        "zero": np.zeros((120, 80)),
        "pretrained": noise * np.geomspace(1, 0.01, 80),
    }[start]
    spectrum = weight_spectrum(matrix)
    law, variance, note = reference_law(spectrum, matrix.shape)
    assert law is None and variance > 0 and "step 0" in note
    row = describe_spectrum(weight_spectrum(matrix + 0.1 * noise), matrix.shape, start=spectrum)
    assert row.outliers == -1 and math.isnan(row.ks_law) and row.ks_start > 0 and row.note == note


@pytest.mark.parametrize("init", ["normal", "uniform"])
def test_iid_starts_of_any_distribution_have_one(init: str) -> None:
    generator = np.random.default_rng(0)
    matrix = getattr(generator, init)(size=(400, 300)) - (0.5 if init == "uniform" else 0.0)
    assert reference_law(weight_spectrum(matrix), matrix.shape)[0] is not None


def test_distances_and_stable_rank() -> None:
    assert stable_rank(np.array([2.0, 2.0, 0.0])) == 2.0
    assert stable_rank(np.zeros(3)) == 0.0
    assert wasserstein_between(np.arange(5.0), np.arange(5.0) + 0.5) == pytest.approx(0.5)
    assert ks_between(np.arange(5.0), np.arange(5.0) + 10) == 1.0
