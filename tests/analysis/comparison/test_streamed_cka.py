"""Unbiased CKA from batches equals its definition, whatever the batches and the route."""

import numpy as np
import pytest
import torch

from analysis.comparison.gram_tiles import BatchHSIC, batch_bytes, tile_bytes, tiled_hsic
from analysis.comparison.streamed_cka import CrossProducts, cka_of
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
    return cka_of(of_tiles(sets, block)[0])


def of_tiles(sets, block):
    return tiled_hsic(lambda place, a, b: sets[place][a:b], len(sets), len(sets[0]), block, refuse=lambda *_: None)


def within(sets, sizes):
    sums = BatchHSIC(lambda *_: None)
    for start, stop in zip(np.cumsum([0, *sizes[:-1]]), np.cumsum(sizes), strict=True):
        sums.add([part[start:stop] for part in sets])
    return sums


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


def test_sets_that_differ_in_size_all_vary():
    scaled = [SETS[0], 1e-6 * SETS[1], 1e8 * SETS[2], 1e-9 * SETS[0] + 1]
    for found in (streamed(scaled, [9]), tiled(scaled, 4), cka_of(within(scaled, [9]).hsic())):
        np.testing.assert_allclose(found, streamed([*SETS, SETS[0]], [9]), atol=1e-5)


def test_float32_is_taken_where_the_features_have_no_more_digits_and_only_where_it_keeps_them():
    noise = np.random.default_rng(1).normal(size=(60, 9000))  # nearly orthogonal: what float32 loses shows
    single = [(noise + 7).astype(np.float32), (noise[:, :50] ** 3).astype(np.float32)]
    found, said = of_tiles(single, 32)
    assert said == "in float32"
    np.testing.assert_allclose(cka_of(found), streamed([part.astype(float) for part in single], [60]), atol=1e-6)
    assert of_tiles([part.astype(float) for part in single], 32)[1] == "in float64"
    hard = [np.repeat(single[0], 2, axis=0), np.repeat(single[1], 2, axis=0)]
    hard[0][0] *= 1e15  # one example takes the digits of all products with it, and some overflow
    found, said = of_tiles(hard, 64)
    assert "blocks again in float64" in said
    np.testing.assert_allclose(cka_of(found), streamed([part.astype(float) for part in hard], [120]), atol=1e-6)


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.int64, bool], ids=str)
def test_other_types_give_what_they_give_as_float64(kind):
    sets = [(4 * part).astype(kind) for part in (X, SETS[2])]
    np.testing.assert_allclose(tiled(sets, 4), streamed([part.astype(float) for part in sets], [9]), atol=1e-5)


def test_pairs_within_batches_are_the_sum_of_each_batch_by_its_definition():
    parts = [[part[a:b] for part in SETS] for a, b in ((0, 4), (4, 9))]
    pairs = (4 * 1, 5 * 2)  # n(n-3) of each
    sums = sum(
        n * np.array([[reference.unbiased_hsic(a, b) for b in part] for a in part])
        for n, part in zip(pairs, parts, strict=True)
    )
    own = np.sqrt(np.diag(sums))
    np.testing.assert_allclose(cka_of(within(SETS, [4, 5]).hsic()), sums / own / own[:, None], atol=1e-12)
    np.testing.assert_allclose(cka_of(within(SETS, [9]).hsic()), tiled(SETS, 4), atol=1e-12)
    with pytest.raises(ValueError, match="A batch has 3 examples"):
        within(SETS, [6, 3])


def test_the_memory_of_tiles_falls_with_the_block_and_does_not_grow_with_the_square_of_the_examples():
    widths = [4096] * 10
    assert tile_bytes(widths, 50_000, 64) < tile_bytes(widths, 50_000, 512) < CrossProducts.bytes(widths)
    assert tile_bytes(widths, 100_000, 64) < 1.7 * tile_bytes(widths, 50_000, 64) < 40e6
    assert batch_bytes(widths, 64) < tile_bytes(widths, 1000, 64)
