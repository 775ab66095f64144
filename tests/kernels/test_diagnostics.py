"""Spectrum, effective rank, alignment and velocity agree with their defining formulas written out."""

import math

import numpy as np
import pytest
import torch

from kernels import diagnostics
from kernels.diagnostics import (
    effective_rank,
    kernel_alignment,
    kernel_spectrum,
    kernel_velocity,
    relative_change,
    target_alignment,
    unbiased_cka,
)


def gram(n: int, p: int, seed: int = 0) -> torch.Tensor:
    features = torch.randn(n, p, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return features @ features.T


def test_spectrum_is_descending_and_sums_to_the_trace() -> None:
    kernel = gram(12, 5)
    values = kernel_spectrum(kernel.float())
    assert values.dtype == torch.float64 and (values.diff() <= 0).all()
    assert float(values.sum()) == pytest.approx(float(kernel.trace()), rel=1e-6)
    assert float(values[5:].abs().max()) < 1e-4


@pytest.mark.parametrize("measure", ["entropy", "participation", "stable"])
def test_effective_rank_counts_equal_directions(measure: str) -> None:
    assert effective_rank(torch.tensor([3.0, 3.0, 3.0, 0.0, -1e-17]), measure) == pytest.approx(3)
    assert effective_rank(torch.tensor([1.0, 0.0]), measure) == pytest.approx(1)
    assert 1 < effective_rank(torch.tensor([2.0, 1.0, 0.5]), measure) < 3


@pytest.mark.parametrize("centered", [True, False])
def test_alignment_is_its_definition_in_blocks_of_any_size(centered: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    left, right, n = gram(11, 4), gram(11, 6, seed=1), 11
    h = torch.eye(n, dtype=torch.float64) - 1 / n if centered else torch.eye(n, dtype=torch.float64)
    a, b = h @ left @ h, h @ right @ h
    expected = float((a * b).sum() / (a.norm() * b.norm()))
    for rows in (3, 2048):
        monkeypatch.setattr(diagnostics, "_ROWS", rows)
        assert kernel_alignment(left, right, centered=centered) == pytest.approx(expected, rel=1e-12)
    assert kernel_alignment(left, 7 * left, centered=centered) == pytest.approx(1, rel=1e-12)


def test_target_alignment_of_the_labels_own_kernel_is_one() -> None:
    labels = torch.tensor([0, 1, 2, 1, 0, 2, 2])
    onehot = torch.nn.functional.one_hot(labels).double()
    signs = torch.where(labels == 0, 1.0, -1.0).double()[:, None]
    assert target_alignment(onehot @ onehot.T, labels) == pytest.approx(1)
    assert target_alignment(onehot @ onehot.T, labels, centered=False) == pytest.approx(1)
    assert target_alignment(signs @ signs.T, signs) == pytest.approx(1)
    # A constant added to every entry is a feature that all points share: centering removes it.
    assert target_alignment(onehot @ onehot.T + 5, labels) == pytest.approx(1)
    assert target_alignment(onehot @ onehot.T + 5, labels, centered=False) < 0.8


def test_unbiased_cka_vanishes_for_unrelated_kernels_where_the_plain_one_does_not() -> None:
    pairs = [(gram(12, 30, seed=2 * s), gram(12, 30, seed=2 * s + 1)) for s in range(60)]
    unbiased = torch.tensor([unbiased_cka(a, b) for a, b in pairs])
    plain = torch.tensor([kernel_alignment(a, b) for a, b in pairs])
    assert abs(unbiased.mean()) < 4 * unbiased.std() / math.sqrt(60) and plain.mean() > 0.5
    assert unbiased_cka(*[gram(12, 5)] * 2) == pytest.approx(1)


def test_velocity_and_relative_change() -> None:
    before, after = gram(9, 4), gram(9, 4, seed=3)
    cosine = float((before * after).sum() / (before.norm() * after.norm()))
    assert kernel_velocity(before, after, 5.0) == pytest.approx((1 - cosine) / 5)
    assert kernel_velocity(before, 2 * before) == pytest.approx(0, abs=1e-12)
    assert relative_change(before, after) == pytest.approx(float((after - before).norm() / before.norm()))
    assert relative_change(before, 2 * before) == pytest.approx(1)


def test_bad_input_is_named() -> None:
    kernel, zero = gram(5, 3), torch.zeros(5, 5)
    with pytest.raises(ValueError, match="not symmetric"):
        kernel_spectrum(kernel + torch.triu(torch.ones(5, 5)))
    with pytest.raises(ValueError, match="not finite"):
        kernel_spectrum(kernel * float("nan"))
    with pytest.raises(ValueError, match="positive eigenvalue"):
        effective_rank(torch.zeros(3))
    with pytest.raises(ValueError, match="undefined"):
        kernel_alignment(torch.ones(5, 5), kernel)
    with pytest.raises(ValueError, match="undefined"):
        relative_change(zero, kernel)
    with pytest.raises(ValueError, match="positive"):
        kernel_velocity(kernel, kernel, 0.0)
    with pytest.raises(ValueError, match="at least 4"):
        unbiased_cka(kernel[:3, :3], kernel[:3, :3])


def test_an_effective_rank_is_taken_of_arrays_and_refuses_what_is_no_list_of_eigenvalues() -> None:
    assert effective_rank(np.array([1.0, 1.0])) == pytest.approx(2)
    with pytest.raises(ValueError, match=r"eigenvalues has 2 axes \(shape \(2, 2\)\), \(n,\) is needed"):
        effective_rank(torch.eye(2))
