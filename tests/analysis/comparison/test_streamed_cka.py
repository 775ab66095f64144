"""Unbiased CKA from batches equals its definition, whatever the batches and the route."""

import numpy as np
import pytest
import torch

from analysis.comparison.streamed_cka import CrossProducts, cka_of, tile_bytes, tiled_hsic
from kernels import unbiased_cka
from tests.references import centered_alignment as reference

RNG = np.random.default_rng(0)
X = RNG.normal(size=(9, 4))
SETS = [X, X[:, :2] + 0.1 * RNG.normal(size=(9, 2)), RNG.normal(size=(9, 7))]


def streamed(sets, sizes):
    sums = CrossProducts([part.shape[1] for part in sets])
    for start, stop in zip(np.cumsum([0, *sizes[:-1]]), np.cumsum(sizes), strict=True):
        sums.add([part[start:stop] for part in sets])
    return cka_of(sums.hsic())


def tiled(sets, block):
    return cka_of(tiled_hsic(lambda a, b: [part[a:b] for part in sets], len(sets), len(sets[0]), block))


def test_both_routes_equal_the_definition():
    wanted = [[reference.unbiased_cka(a, b) for b in SETS] for a in SETS]
    np.testing.assert_allclose(streamed(SETS, [9]), wanted, atol=1e-12)
    np.testing.assert_allclose(tiled(SETS, 4), wanted, atol=1e-12)
    gram = torch.from_numpy(SETS[0] @ SETS[0].T), torch.from_numpy(SETS[2] @ SETS[2].T)
    assert unbiased_cka(*gram) == pytest.approx(wanted[0][2], abs=1e-12)


@pytest.mark.parametrize("sizes", [[1, 8], [4, 5], [3, 3, 3], [1] * 9], ids=str)
def test_batches_change_nothing(sizes):
    np.testing.assert_allclose(streamed(SETS, sizes), tiled(SETS, 9), atol=1e-12)
    order = RNG.permutation(9)
    np.testing.assert_allclose(streamed([part[order] for part in SETS], sizes), tiled(SETS, 9), atol=1e-12)


@pytest.mark.parametrize("block", [2, 4, 9, 100])
def test_blocks_change_nothing(block):
    np.testing.assert_allclose(tiled(SETS, block), tiled(SETS, 9), atol=1e-12)


def test_large_means_take_no_digits_and_rotation_shift_and_scale_change_nothing():
    large = RNG.normal(size=(300, 6))
    turn = np.linalg.qr(RNG.normal(size=(6, 6)))[0]
    moved = [large, 3 * large @ turn + 1e4, RNG.normal(size=(300, 6))]
    plain = [large, large, moved[2]]
    for found in (streamed(moved, [100, 200]), tiled(moved, 64)):
        np.testing.assert_allclose(found, streamed(plain, [300]), atol=1e-8)


def test_unrelated_features_have_a_mean_of_zero_at_any_number_of_examples():
    found = [streamed([RNG.normal(size=(12, 30)), RNG.normal(size=(12, 30))], [12])[0, 1] for _ in range(300)]
    assert abs(np.mean(found)) < 4 * np.std(found) / 300**0.5


def test_a_set_that_does_not_vary_has_none():
    found = streamed([SETS[0], np.ones((9, 3))], [9])
    assert np.isnan(found[1]).all() and found[0, 0] == pytest.approx(1)
    with pytest.raises(ValueError, match="at least 4 examples, there are 3"):
        streamed([part[:3] for part in SETS], [3])


def test_the_memory_of_tiles_falls_with_the_block_and_does_not_grow_with_the_square_of_the_examples():
    widths = [4096] * 10
    assert tile_bytes(widths, 50_000, 64) < tile_bytes(widths, 50_000, 512) < CrossProducts.bytes(widths)
    assert tile_bytes(widths, 100_000, 64) < 1.2 * tile_bytes(widths, 50_000, 64)
